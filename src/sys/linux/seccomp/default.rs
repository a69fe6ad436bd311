//! The default filter as data: which system calls an app may make, and why.
//!
//! It lists what is allowed. A call that no rule names, such as one that is newer than this list, fails with ENOSYS: that is
//! what a kernel without the call says, and what programs and C libraries know how to live with. A call that is kept from apps
//! on purpose fails with EPERM, as it would for want of a capability. Where the kernel asks for a capability that few apps have,
//! those that may have it are exempt from the rule, and left to the kernel. Whom the app runs as makes no difference: programs
//! may be set-user-ID.
//!
//! Apps may trace each other. Before Linux 4.8 a traced process got around its filter, but no pod starts on those.

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_UNSPEC};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel carries it out.
    Allow,
    /// It fails with this error.
    Fail(i32),
    /// An argument decides.
    If(&'static Check),
}

/// A question about one argument. Only its lower 32 bits count, as all calls asked about take no more: otherwise a program
/// could hide a forbidden value behind bits that the kernel drops.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Which argument, from 0.
    pub argument: u32,
    /// What it must be.
    pub test: Test,
    /// The error if it is not.
    pub error: i32,
}

/// What an argument must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// One of these values.
    OneOf(&'static [u32]),
    /// None of these values.
    NoneOf(&'static [u32]),
    /// Without any of these bits.
    Without(u32),
}

/// What becomes of some calls, and who is exempt.
#[derive(Debug)]
pub(super) struct Rule {
    /// What becomes of them.
    pub verdict: Verdict,
    /// An app that may have one of these capabilities is allowed the calls, whatever the verdict.
    pub exempt: &'static [&'static str],
    /// Their names, with white space between. A name that the kernel never had does not compile.
    pub calls: &'static str,
}

const DENY: Verdict = Verdict::Fail(libc::EPERM);

/// What a call without a rule gets.
pub(super) const MISSING: Verdict = Verdict::Fail(libc::ENOSYS);

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// `CLONE_NEWTIME`: for unshare(2) only; in clone(2) the bit belongs to the signal that the parent gets.
const NEW_TIME_NAMESPACE: u32 = 0x80;

const NO_NAMESPACE_CLONED: Check = Check { argument: 0, test: Test::Without(NEW_NAMESPACES), error: libc::EPERM };

const NO_NAMESPACE_UNSHARED: Check =
    Check { argument: 0, test: Test::Without(NEW_NAMESPACES | NEW_TIME_NAMESPACE), error: libc::EPERM };

/// The families that a network namespace confines and that programs use. To ask for another one makes the kernel load its
/// module, of whatever age and quality; AF_VSOCK reaches the hypervisor whatever the namespace, and AF_ALG a large part of
/// the kernel's cryptography. The error is that of a kernel without the family.
const COMMON_FAMILY: Check = Check {
    argument: 0,
    test: Test::OneOf(&[
        AF_UNSPEC as u32,
        AF_UNIX as u32,
        AF_INET as u32,
        AF_INET6 as u32,
        AF_NETLINK as u32,
        AF_PACKET as u32,
    ]),
    error: libc::EAFNOSUPPORT,
};

/// socketcall(2) keeps the family in memory, where no filter can look; so `SYS_SOCKET` and `SYS_SOCKETPAIR` are not to be
/// had this way. An i386 program whose C library knows no other (glibc built for kernels before 4.3) has no sockets then.
const NO_SOCKET_MADE: Check = Check { argument: 0, test: Test::NoneOf(&[1, 8]), error: libc::EPERM };

/// `TIOCSTI` and `TIOCLINUX` type on a terminal in the name of the person who sits there, which may be the host's where
/// standard input is; `TIOCSETD` makes the kernel load a line discipline, of which few are in use and many have had holes.
const NO_TYPING: Check = Check { argument: 1, test: Test::NoneOf(&[0x5412, 0x541c, 0x5423]), error: libc::EPERM };

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question which it is. Other values undo protections of memory or
/// wake emulations of other systems.
const COMMON_PERSONALITY: Check =
    Check { argument: 0, test: Test::OneOf(&[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff]), error: libc::EPERM };

/// The rules. No call is in two of them.
pub(super) const RULES: &[Rule] = &[
    // What ordinary programs do all the time, and what permissions, namespaces and capabilities confine well.
    Rule {
        verdict: Verdict::Allow,
        exempt: &[],
        calls: "
            read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek
            open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock
            stat fstat lstat stat64 fstat64 lstat64 newfstatat fstatat64 statx statfs fstatfs statfs64 fstatfs64
            oldstat oldfstat oldlstat access faccessat faccessat2 umask
            chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat chown32 fchown32 lchown32
            utime utimes futimesat utimensat utimensat_time64
            link linkat symlink symlinkat readlink readlinkat unlink unlinkat rename renameat renameat2
            mkdir mkdirat rmdir mknod mknodat chdir fchdir getcwd getdents getdents64 readdir
            truncate ftruncate truncate64 ftruncate64 fallocate
            sync fsync fdatasync syncfs sync_file_range arm_sync_file_range
            fadvise64 fadvise64_64 arm_fadvise64_64 readahead cachestat
            sendfile sendfile64 splice tee vmsplice copy_file_range
            getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
            listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
            file_getattr file_setattr name_to_handle_at statmount listmount
            inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
            pipe pipe2 select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
            epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
            eventfd eventfd2 signalfd signalfd4
            timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
            io_setup io_submit io_getevents io_pgetevents io_pgetevents_time64 io_cancel io_destroy
            memfd_create memfd_secret",
    },
    // Memory: a process's own, with where it lies (NUMA) and who may touch it.
    Rule {
        verdict: Verdict::Allow,
        exempt: &[],
        calls: "
            brk mmap mmap2 munmap mremap mprotect msync madvise mincore mseal remap_file_pages
            mlock mlock2 munlock mlockall munlockall pkey_alloc pkey_free pkey_mprotect map_shadow_stack
            get_mempolicy set_mempolicy set_mempolicy_home_node mbind membarrier modify_ldt",
    },
    // Processes, threads, signals and identities. Who may be traced may also be looked into and taken from by other means;
    // the kernel asks the same question for all of them.
    Rule {
        verdict: Verdict::Allow,
        exempt: &[],
        calls: "
            fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pause
            getpid getppid gettid getpgid getpgrp setpgid getsid setsid
            pidfd_open pidfd_send_signal pidfd_getfd process_mrelease process_madvise
            ptrace process_vm_readv process_vm_writev kcmp
            getuid geteuid getgid getegid getresuid getresgid getgroups
            getuid32 geteuid32 getgid32 getegid32 getresuid32 getresgid32 getgroups32
            setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups
            setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32 setgroups32
            capget capset prctl arch_prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
            lsm_get_self_attr lsm_set_self_attr lsm_list_modules
            signal sigaction sigpending sigprocmask sigsuspend sigreturn sigaltstack sgetmask ssetmask restart_syscall
            rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
            rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
            set_tid_address set_robust_list get_robust_list set_thread_area get_thread_area rseq uretprobe uprobe
            futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue
            getpriority setpriority nice ioprio_get ioprio_set getcpu
            sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
            sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
            sched_rr_get_interval sched_rr_get_interval_time64
            getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname olduname oldolduname getrandom",
    },
    // Time: reading, waiting, alarms. To set a clock with adjtimex(2), the kernel asks for CAP_SYS_TIME.
    Rule {
        verdict: Verdict::Allow,
        exempt: &[],
        calls: "
            time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64
            nanosleep clock_nanosleep clock_nanosleep_time64 alarm getitimer setitimer
            timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
            adjtimex clock_adjtime clock_adjtime64",
    },
    // Sockets, once they are made, and System V and POSIX IPC, which have a namespace.
    Rule {
        verdict: Verdict::Allow,
        exempt: &[],
        calls: "
            bind connect listen accept accept4 shutdown getsockname getpeername getsockopt setsockopt
            send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
            ipc shmget shmat shmdt shmctl msgget msgsnd msgrcv msgctl semget semop semtimedop semtimedop_time64 semctl
            mq_open mq_unlink mq_getsetattr mq_notify mq_timedsend mq_timedsend_time64
            mq_timedreceive mq_timedreceive_time64",
    },
    Rule { verdict: Verdict::If(&COMMON_FAMILY), exempt: &["CAP_NET_ADMIN"], calls: "socket socketpair" },
    Rule { verdict: Verdict::If(&NO_SOCKET_MADE), exempt: &["CAP_NET_ADMIN"], calls: "socketcall" },
    Rule { verdict: Verdict::If(&NO_TYPING), exempt: &[], calls: "ioctl" },
    Rule { verdict: Verdict::If(&COMMON_PERSONALITY), exempt: &[], calls: "personality" },
    // Namespaces. A new user namespace would give the app every capability in it, and so the kernel's mounting, networking
    // and filtering code to play with.
    Rule { verdict: Verdict::If(&NO_NAMESPACE_CLONED), exempt: &["CAP_SYS_ADMIN"], calls: "clone" },
    Rule { verdict: Verdict::If(&NO_NAMESPACE_UNSHARED), exempt: &["CAP_SYS_ADMIN"], calls: "unshare" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_ADMIN"], calls: "setns" },
    // Its flags are in memory, where no filter can look. C libraries fall back to clone(2) if the kernel does not have it.
    Rule { verdict: MISSING, exempt: &["CAP_SYS_ADMIN"], calls: "clone3" },
    // Mounts, names and quotas: the business of whoever administers the system.
    Rule {
        verdict: DENY,
        exempt: &["CAP_SYS_ADMIN"],
        calls: "
            mount umount umount2 pivot_root fsopen fspick fsconfig fsmount open_tree open_tree_attr move_mount mount_setattr
            sethostname setdomainname quotactl quotactl_fd fanotify_init lookup_dcookie",
    },
    // Opening a file by a number of one's own making goes around every directory on the way, out of the pod as well.
    Rule { verdict: DENY, exempt: &["CAP_DAC_READ_SEARCH"], calls: "open_by_handle_at" },
    // Programs in the kernel, and looking at it from within. Both have long been where its holes are.
    Rule { verdict: DENY, exempt: &["CAP_SYS_ADMIN", "CAP_BPF"], calls: "bpf" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_ADMIN", "CAP_PERFMON"], calls: "perf_event_open" },
    // The kernel's messages tell its addresses and other pods' doings.
    Rule { verdict: DENY, exempt: &["CAP_SYS_ADMIN", "CAP_SYSLOG"], calls: "syslog" },
    // Holding up the kernel in the middle of a copy is half of most attacks on it.
    Rule { verdict: DENY, exempt: &["CAP_SYS_PTRACE"], calls: "userfaultfd" },
    // What it does is not seen by this filter or by auditing. The error is the kernel's own where the sysctl forbids it.
    Rule { verdict: DENY, exempt: &[], calls: "io_uring_setup io_uring_enter io_uring_register" },
    // Keys belong to users by number, in all pods and on the host alike.
    Rule { verdict: DENY, exempt: &[], calls: "add_key request_key keyctl" },
    // The machine: another kernel, modules, swap, its clock, its ports, where memory of others lies.
    Rule { verdict: DENY, exempt: &[], calls: "kexec_load kexec_file_load swapon swapoff vm86 vm86old" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_MODULE"], calls: "init_module finit_module delete_module" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_BOOT"], calls: "reboot" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_TIME"], calls: "settimeofday stime clock_settime clock_settime64" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_RAWIO"], calls: "iopl ioperm pciconfig_iobase pciconfig_read pciconfig_write" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_NICE"], calls: "move_pages migrate_pages" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_PACCT"], calls: "acct" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_TTY_CONFIG"], calls: "vhangup" },
    Rule { verdict: DENY, exempt: &["CAP_SYS_CHROOT"], calls: "chroot" },
    // Gone from the kernel, never in it, or of no use for decades.
    Rule {
        verdict: MISSING,
        exempt: &[],
        calls: "
            _sysctl afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms getpmsg gtty
            idle lock mpx nfsservctl prof profil putpmsg query_module security stty sysfs tuxcall ulimit uselib ustat
            vserver",
    },
];
