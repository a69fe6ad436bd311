//! A pod sees and reaches nothing of the host's processes, names, networks, queues and mounts.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use super::images::{NAME, inside, isolated, shell, store_of, value};
use super::pods;
use crate::support::bounded::{ended, until};
use crate::support::command::{Output, or_skip, skip};

/// A process of the host's that a pod should not reach.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_names_networks_and_queues_are_the_pods_own() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let mut bystander = Bystander::new();
    let outside = format!("OUTSIDE={}", bystander.0.id());
    let script = include_str!("../inside/processes.sh");
    let run = ["run", "--destroy", "--hostname", "pod.example", NAME, "--env", &outside, "--", script];
    let output = jetpack.run(run).success();
    assert!(bystander.0.try_wait().expect("a child").is_none(), "the pod killed a process of the host's");
    let expected = "\
pids /proc/1 /proc/2
the first process is alive
hostname pod.example
cgroups / 
interfaces lo 
lo 127.0.0.1/8 ::1/128 
127.0.0.1 answers
over tcp
msg 0
sem 0
shm 0
queues 0
";
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), (expected, ""));
}

#[test]
fn what_a_pod_does_to_its_names_and_mounts_stays_in_it() {
    let app = isolated(
        "0",
        "os/linux/capabilities-retain-set",
        r#"{ "set": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_DAC_OVERRIDE"] }"#,
    );
    let jetpack = or_skip!(store_of(&app));
    jetpack.configure("allow.capabilities = CAP_SYS_ADMIN CAP_NET_ADMIN");
    let mark = format!("jetpack-test-{}", std::process::id());
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname");
    let script = format!(
        "hostname changed && hostname && mkdir /{mark} && mount -t tmpfs {mark} /{mark} && grep -c ^{mark} /proc/mounts
        ip link set lo down; echo $?; touch /{mark}/ready; read line; ls /mnt-of-host 2>&1 | wc -l"
    );
    let mut command = jetpack.command(["run", "--destroy", NAME, "--", &script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
    let pod = || pids_of(&mark);
    until("the pod mounts", || !pod().is_empty());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    drop(child.stdin.take());
    let output = Output::of(child.wait_with_output().expect("the command ends"));
    assert_eq!(output.stdout.lines().take(3).collect::<Vec<_>>(), ["changed", "1", "0"], "{output:?}");
    assert!(!mounts.contains(&mark), "{mounts}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname"), hostname);
}

/// Processes that see a mount whose line holds `mark`.
fn pids_of(mark: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/mounts")).is_ok_and(|mounts| mounts.contains(mark)))
        .collect()
}

#[test]
fn later_mounts_of_the_host_do_not_arrive_in_a_pod() {
    let jetpack = or_skip!(pods("dir"));
    // The host is a mount namespace of its own here, whose mounts are shared as systemd has them; what is mounted later is
    // mounted below the very directory that is the pod's root.
    let mark = format!("late-{}", std::process::id());
    let script = format!(
        "mount --make-rshared / && mkfifo $D/go && \
        {{ \"$@\" <$D/go & }} && exec 3>$D/go && until grep -q waits $D/out; do sleep 0.05; done && \
        mount -t tmpfs {mark} $D/store/pods/*/apps/busybox-base/root/tmp && echo >&3 && wait; umount $D/store/pods/*/apps/*/root/tmp"
    );
    let run = jetpack.command(["run", "busybox-base", "--", "sh", "-c", "echo waits; read go; cat /proc/mounts"]);
    let out = jetpack.path("out");
    let mut host = Command::new("timeout");
    host.args(["20", "unshare", "-m", "sh", "-c", &script, "sh"]).arg(run.get_program());
    host.args(run.get_args()).env("D", jetpack.path("")).stdout(fs::File::create(&out).expect("a file"));
    let mut host = host.spawn().expect("unshare starts");
    assert!(ended(&mut host).success());
    let said = fs::read_to_string(&out).expect("the output");
    assert!(said.contains("waits\n") && said.contains("proc /proc") && !said.contains(&mark), "{said}");
}

#[test]
fn no_way_leads_out_of_the_root() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let marker = jetpack.file("marker", b"of the host");
    // A root of its own within the root, and the working directory left outside it: the classic way out of chroot(2).
    let script = format!(
        "stat -c %d:%i / /proc/self/root/. /../../../. | uniq | wc -l
        ls {0} /../../../..{0} /proc/1/root{0} /proc/1/cwd{0} 2>/dev/null
        mkdir -p /jail/deep && cp /bin/busybox /jail/sh && cp /bin/busybox /jail/ls && cd /jail/deep
        chroot /jail /sh -c 'echo chroot works; /ls -d /bin' 2>/dev/null
        stat -c %d:%i / ../../../../.. | uniq | wc -l
        ls /proc/1/root/ 2>/dev/null || echo closed
        nsenter -t 1 -m true 2>/dev/null || echo no other namespace
        find / -xdev -name marker",
        marker.display()
    );
    assert_eq!(inside(&jetpack, &script), "1\nchroot works\n1\nclosed\nno other namespace\n");
}

#[test]
fn the_network_of_the_host_is_seen_when_asked_for() {
    let jetpack = or_skip!(pods("overlay"));
    let script =
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; echo; mount | grep -c '^sysfs.* (ro,'; ls /sys/class/net";
    let said =
        jetpack.run(["run", "--destroy", "--net", "host", "busybox-base", "--", "sh", "-c", script]).success().stdout;
    let (seen, rest) = said.split_once("\n\n").expect("two parts");
    let seen: BTreeSet<&str> = seen.lines().collect();
    let text = fs::read_to_string("/proc/net/dev").expect("/proc/net/dev");
    let host: BTreeSet<&str> = text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    if host.len() < 2 {
        skip!("this host has no interface but lo");
    }
    assert_eq!(seen, host);
    assert_eq!(rest.lines().next(), Some("1"), "{rest}");
}

#[test]
fn queues_and_segments_of_the_host_are_not_seen() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let made = Command::new("ipcmk").args(["-M", "4096", "-Q"]).output();
    let Ok(made) = made else { skip!("needs ipcmk") };
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    let ids: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    let said = inside(&jetpack, "for k in msg shm; do echo $k $(tail -n +2 /proc/sysvipc/$k | wc -l); done");
    let _ = Command::new("ipcrm").args(["-m", ids[0], "-q", ids[1]]).status();
    assert_eq!((value(&said, "msg"), value(&said, "shm")), ("0", "0"));
}
