//! What an app may do: capabilities and no_new_privs, as its own /proc/self/status tells.

use super::images::{Image, inside, isolated, shell, store_of, value};
use crate::support::command::or_skip;

/// appc's default set (ace.md): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
/// SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
const DEFAULT: u64 = bits(&[0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]);

const STATUS: &str = "cat /proc/self/status";

const fn bits(capabilities: &[u32]) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < capabilities.len() {
        set |= 1 << capabilities[i];
        i += 1;
    }
    set
}

/// The five sets in the order of proc(5): inheritable, permitted, effective, bounding, ambient.
fn sets(status: &str) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(value(status, name), 16).expect("a number"))
}

#[test]
fn root_has_the_fourteen_and_no_more() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let status = inside(&jetpack, STATUS);
    assert_eq!(sets(&status), [0, DEFAULT, DEFAULT, DEFAULT, 0]);
    assert_eq!(value(&status, "NoNewPrivs"), "0");
    assert_eq!(value(&status, "Groups"), "0");
}

#[test]
fn another_user_has_none_but_may_gain_the_fourteen() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let status = inside(&jetpack, STATUS);
    assert_eq!(sets(&status), [0, 0, 0, DEFAULT, 0]);
    assert_eq!(value(&status, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(value(&status, "Gid"), "1000\t1000\t1000\t1000");
}

#[test]
fn isolators_retain_and_remove() {
    let retain = isolated("0", "os/linux/capabilities-retain-set", r#"{ "set": ["CAP_KILL", "CAP_SYS_PTRACE"] }"#);
    let jetpack = or_skip!(store_of(&retain));
    // An image cannot give itself what the administrator does not allow.
    let output = jetpack.run(["run", "--destroy", "test", "--", STATUS]).success();
    assert_eq!(sets(&output.stdout), [0, bits(&[5]), bits(&[5]), bits(&[5]), 0]);
    assert!(output.stderr.contains("CAP_SYS_PTRACE not given"), "{}", output.stderr);
    jetpack.configure("allow.capabilities = CAP_SYS_PTRACE");
    let kept = bits(&[5, 19]);
    assert_eq!(sets(&inside(&jetpack, STATUS)), [0, kept, kept, kept, 0]);
    let remove = isolated("0", "os/linux/capabilities-remove-set", r#"{ "set": ["CAP_KILL", "CAP_SYS_TIME"] }"#);
    let jetpack = or_skip!(store_of(&remove));
    let left = DEFAULT & !bits(&[5]);
    assert_eq!(sets(&inside(&jetpack, STATUS)), [0, left, left, left, 0]);
}

#[test]
fn a_capability_that_the_host_does_not_have_is_refused() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = !sets(&status)[3] & bits(&[24]) != 0;
    if !missing {
        crate::support::command::skip!("this host has CAP_SYS_RESOURCE");
    }
    let retain = isolated("0", "os/linux/capabilities-retain-set", r#"{ "set": ["CAP_SYS_RESOURCE"] }"#);
    let jetpack = or_skip!(store_of(&retain));
    jetpack.configure("allow.capabilities = CAP_SYS_RESOURCE");
    let error = jetpack.run(["run", "--destroy", "test", "--", "true"]).failure(125);
    assert!(error.contains("CAP_SYS_RESOURCE"), "{error}");
}

/// An image whose app is not root and has a set-user-ID copy of id(1), which tells what it has become.
fn with_setuid_id(app: &str) -> Result<Image, String> {
    Image::new(Some(app), &[])?.program("/usr/bin/id", "usr/local/bin/suid-id", 0o4755)
}

#[test]
fn set_user_id_programs_work_unless_the_isolator_forbids_it() {
    let image = or_skip!(with_setuid_id(&shell("1000", "")));
    let identity = inside(&or_skip!(image.into_store("overlay")), "suid-id");
    assert!(identity.contains("uid=1000") && identity.contains("euid=0"), "{identity}");
    let image = or_skip!(with_setuid_id(&isolated("1000", "os/linux/no-new-privileges", "true")));
    let jetpack = or_skip!(image.into_store("overlay"));
    let said = inside(&jetpack, "suid-id; cat /proc/self/status");
    assert!(said.contains("uid=1000") && !said.contains("euid=0"), "{said}");
    assert_eq!(value(&said, "NoNewPrivs"), "1");
}
