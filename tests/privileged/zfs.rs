//! A store in a ZFS pool: what it costs, what outlives boots, crashes and moves, and what is refused.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::images::{Image, NAME, shell};
use super::pods;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, destroy_dataset, or_skip, pool};

const POINTS: &str = r#""mountPoints": [{ "name": "data", "path": "/srv" }, { "name": "more", "path": "/more" }]"#;

/// What zfs(8) says.
#[track_caller]
pub(super) fn zfs(arguments: &[&str]) -> String {
    Output::of(Command::new("zfs").args(arguments).output().expect("zfs starts")).success().stdout
}

/// The names of the datasets below a store's, without the store's.
pub(super) fn datasets(jetpack: &Jetpack) -> Vec<String> {
    let root = format!("{}/", jetpack.dataset().expect("a dataset"));
    let all = zfs(&["list", "-H", "-o", "name", "-r", jetpack.dataset().expect("a dataset")]);
    all.lines().filter_map(|name| name.strip_prefix(&root)).map(str::to_owned).collect()
}

/// How often zfs(8) was started for this store until now.
fn started(jetpack: &Jetpack) -> usize {
    let log = std::env::var("JETPACK_TEST_ZFS_LOG").expect("tests/zfs.sh says where");
    let log = std::fs::read_to_string(log).expect("the log");
    log.lines().filter(|line| line.contains(jetpack.dataset().expect("a dataset"))).count()
}

/// Takes off everything that is mounted of a store, as after a boot; its own dataset too, if `all`.
fn unmount(jetpack: &Jetpack, all: bool) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let root = jetpack.dataset().expect("a dataset");
    let mut mounted: Vec<&str> =
        mounts.lines().filter_map(|line| line.split(' ').next()).filter(|name| name.starts_with(root)).collect();
    mounted.sort_unstable();
    for name in mounted.iter().rev().filter(|name| all || **name != root) {
        zfs(&["unmount", name]);
    }
}

#[test]
fn a_prepared_pod_runs_and_is_listed_without_zfs_and_preparing_costs_little() {
    let jetpack = or_skip!(or_skip!(Image::new(Some(&shell("0", POINTS)), &[])).into_store("zfs"));
    let before = started(&jetpack);
    let script = "echo x >/srv/x; echo x >/more/x; echo x >/x";
    let pod = jetpack.run(["prepare", NAME, "--", script]).success().stdout.trim().to_owned();
    let prepared = started(&jetpack);
    // One for the pod, two for its app, one for each volume.
    assert!((1..=5).contains(&(prepared - before)), "{}", prepared - before);
    for _ in 0..2 {
        jetpack.run(["run", &pod]).success();
        assert!(jetpack.run(["list"]).success().stdout.contains(&pod));
    }
    assert_eq!(started(&jetpack), prepared);
    jetpack.run(["destroy", &pod]).success();
    assert_eq!(datasets(&jetpack).len(), 3);
}

#[test]
fn datasets_say_what_they_are_and_are_not_mounted_at_boot() {
    let jetpack = or_skip!(or_skip!(Image::new(Some(&shell("0", POINTS)), &[])).into_store("zfs"));
    let pod = jetpack.run(["prepare", NAME, "--", "true"]).success().stdout.trim().to_owned();
    let root = jetpack.dataset().expect("a dataset");
    let get = |name: &str, properties: &str| {
        let values = zfs(&["get", "-H", "-o", "value", properties, &format!("{root}/{name}")]);
        values.lines().collect::<Vec<_>>().join(" ")
    };
    let image = datasets(&jetpack).into_iter().find(|name| name.starts_with("images/")).expect("an image");
    let layer = image.trim_start_matches("images/");
    assert_eq!(get(&image, "canmount,atime,jetpack:layer"), format!("noauto off {layer}"));
    let written = std::fs::write(jetpack.store().join("layers").join(layer).join("tree/x"), "x");
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(get(&format!("pods/{pod}"), "mounted,canmount,jetpack:pod"), format!("no noauto {pod}"));
    let app = format!("pods/{pod}/app.{NAME}");
    assert_eq!(get(&app, "origin,jetpack:app"), format!("{root}/{image}@seal {NAME}"));
    assert_eq!(get(&format!("pods/{pod}/volume.data"), "origin,jetpack:volume"), "- data");
    assert!(zfs(&["list", "-H", "-o", "name", "-t", "snapshot", "-r", root]).contains(&format!("{app}@parent\n")));
    if std::path::Path::new("/dev/zfs").exists() {
        assert_eq!(get(&app, "canmount,mounted"), "noauto no");
    }
}

#[test]
fn an_image_is_a_clone_of_its_parent_which_stays_as_long() {
    let jetpack = or_skip!(pods("zfs"));
    let directory = jetpack.path("new");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("manifest.json"), r#"{"name": "built"}"#).expect("a manifest");
    let script = "rm /bin/wget; echo x >/etc/x";
    let words = ["build", "--dir", directory.to_str().expect("plain"), "busybox-base", "sh", "-c", script];
    jetpack.run(words).success();
    let root = jetpack.dataset().expect("a dataset");
    let images = datasets(&jetpack);
    let image = |prefix: &str| {
        let found = images.iter().find(|name| name.starts_with(&format!("images/{prefix}")));
        format!("{root}/{}", found.expect(prefix))
    };
    let (base, built) = (image("sha512-"), image("rendered-"));
    assert_eq!(zfs(&["get", "-H", "-o", "value", "origin", &built]), format!("{base}@seal\n"));
    // What was not changed is not there twice.
    let used: u64 = zfs(&["get", "-Hp", "-o", "value", "used", &built]).trim().parse().expect("a number");
    assert!(used < 1 << 20, "{used}");
    let look = "cat /etc/x; ls /bin/wget 2>/dev/null || echo gone";
    assert_eq!(jetpack.run(["run", "--destroy", "built", "--", "sh", "-c", look]).success().stdout, "x\ngone\n");
    let said = jetpack.run(["destroy-image", "busybox-base"]).failure(125);
    assert!(said.contains("built"), "{said}");
    jetpack.run(["destroy-image", "built", "busybox-base"]).success();
    assert_eq!(datasets(&jetpack), ["images", "pods"]);
}

#[test]
fn after_a_boot_everything_is_mounted_when_it_is_needed() {
    let jetpack = or_skip!(pods("zfs"));
    let script = "cat /kept 2>/dev/null; echo again >>/kept";
    let pod = jetpack.run(["prepare", "busybox-base", "--", "sh", "-c", script]).success().stdout.trim().to_owned();
    jetpack.run(["run", &pod]).success();
    unmount(&jetpack, false);
    assert!(jetpack.run(["list"]).success().stdout.contains("exited"));
    assert_eq!(jetpack.run(["run", &pod]).success().stdout, "again\n");
    unmount(&jetpack, false);
    jetpack.file("manifest.json", br#"{"name": "built"}"#);
    let directory = jetpack.path("new");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::rename(jetpack.path("manifest.json"), directory.join("manifest.json")).expect("a manifest");
    let directory = directory.to_str().expect("plain");
    jetpack.run(["build", "--dir", directory, "busybox-base", "sh", "-c", "echo x >/etc/x"]).success();
    unmount(&jetpack, false);
    let look = ["run", "--destroy", "built", "--", "cat", "/etc/x"];
    assert_eq!(jetpack.run(look).success().stdout, "x\n");
    jetpack.run(["destroy", &pod]).success();
    jetpack.run(["destroy-image", "built", "busybox-base"]).success();
    assert_eq!(datasets(&jetpack), ["images", "pods"]);
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn a_pool_that_was_moved_brings_its_images_and_pods() {
    let jetpack = or_skip!(pods("zfs"));
    let script = "cat /kept 2>/dev/null; echo again >>/kept";
    let pod = jetpack.run(["prepare", "busybox-base", "--", "sh", "-c", script]).success().stdout.trim().to_owned();
    jetpack.run(["run", &pod]).success();
    let (images, list) = (jetpack.run(["-q", "images"]).success().stdout, jetpack.run(["-q", "list"]).success().stdout);
    unmount(&jetpack, true);
    std::fs::remove_dir_all(jetpack.store()).expect("an empty directory");
    let said = jetpack.run(["list"]).failure(125);
    assert!(said.contains("there is no store") && said.contains("jetpack init"), "{said}");
    // The host that it came to has another place for it.
    let elsewhere = jetpack.path("elsewhere");
    let at = format!("root.path={}", elsewhere.display());
    let there = |words: &[&str]| jetpack.run(["-o", &at].iter().chain(words)).success().stdout;
    let expected = format!("there is a store at {} (storage zfs, format 1)\n", elsewhere.display());
    assert_eq!(there(&["init"]), expected);
    assert_eq!((there(&["-q", "images"]), there(&["-q", "list"])), (images, list));
    assert_eq!(there(&["run", &pod]), "again\n");
    assert_eq!(there(&["run", "--destroy", "busybox-base", "--", "echo", "new"]), "new\n");
    // And back, mounted or not.
    assert_eq!(jetpack.run(["init"]).success().stdout.lines().count(), 1);
    assert_eq!(jetpack.run(["run", &pod]).success().stdout, "again\nagain\n");
}

#[test]
fn what_a_killed_import_left_is_destroyed_by_the_next_or_by_gc() {
    let jetpack = or_skip!(pods("zfs"));
    jetpack.import(&or_skip!(Image::new(Some(&shell("0", "")), &[])).finish());
    let nothing = "/dev/null";
    kill_an_import(&jetpack, &|| drop(jetpack.run(["--insecure-options", "image", "import", nothing]).failure(125)));
    kill_an_import(&jetpack, &|| assert_eq!(jetpack.run(["gc"]).success().stdout, ""));
}

/// Kills an import in the middle; `next` then removes what it left, and before that takes nothing from it.
fn kill_an_import(jetpack: &Jetpack, next: &dyn Fn()) {
    let whole = datasets(jetpack);
    let mut import = jetpack.command(["--insecure-options", "image", "import", "-"]);
    let mut child = import.stdin(Stdio::piped()).spawn().expect("the command starts");
    child.stdin.as_mut().expect("a pipe").write_all(b"the beginning").expect("it reads");
    until("a dataset is begun", || datasets(jetpack).len() > whole.len());
    let begun = datasets(jetpack);
    next();
    assert_eq!(datasets(jetpack), begun);
    child.kill().expect("it runs");
    ended(&mut child);
    assert_eq!(datasets(jetpack), begun);
    next();
    assert_eq!(datasets(jetpack), whole);
    assert!(jetpack.contents().iter().all(|name| !name.contains("new.") && !name.starts_with("tmp/")));
}

#[test]
fn a_pod_in_use_is_reported_and_destroyed_later() {
    let jetpack = or_skip!(pods("zfs"));
    let pod = jetpack.run(["prepare", "busybox-base", "--", "true"]).success().stdout.trim().to_owned();
    let inside = jetpack.store().join("pods").join(&pod).join("app.busybox-base/tree");
    let mut user = Command::new("sleep").arg("100").current_dir(inside).spawn().expect("sleep starts");
    let begin = Instant::now();
    let said = jetpack.run(["destroy", &pod]).failure(125);
    let expected = format!("which is in use by {} (sleep): cannot run ", user.id());
    assert!(said.contains("cannot destroy ") && said.contains(&expected), "{said}");
    assert!(said.contains("help: end these processes"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(60));
    user.kill().expect("it runs");
    ended(&mut user);
    jetpack.run(["destroy", &pod]).success();
    assert_eq!(jetpack.run(["-q", "list"]).success().stdout, "");
}

#[test]
fn a_root_holds_no_more_than_it_may() {
    let jetpack = or_skip!(pods("zfs"));
    let fill = "dd if=/dev/urandom of=/x bs=1M count=40";
    let run = |limit: &[&str]| {
        jetpack.run([&["run", "--destroy", "busybox-base"], limit, &["--", "sh", "-c", fill]].concat())
    };
    let said = run(&["--disk", "20M"]).failure(1);
    assert!(said.contains("quota exceeded") || said.contains("No space left"), "{said}");
    run(&[]).success();
    let pod = jetpack.run(["prepare", "busybox-base", "--disk", "1G", "--", "true"]).success().stdout;
    let app = format!("{}/pods/{}/app.busybox-base", jetpack.dataset().expect("a dataset"), pod.trim());
    assert_eq!(zfs(&["get", "-Hp", "-o", "value", "refquota", &app]), format!("{}\n", 1 << 30));
    assert!(jetpack.run(["manifest", pod.trim()]).success().stdout.contains("\"jetpack/disk\""));
    jetpack.run(["destroy", pod.trim()]).success();
    let before = datasets(&jetpack);
    let said = run(&["--disk", "4K"]).failure(125);
    assert!(said.contains("help: the image itself must fit into 4096 bytes"), "{said}");
    assert_eq!(datasets(&jetpack), before);
}

#[test]
fn init_makes_datasets_as_configured_and_takes_nobodys() {
    let pool = or_skip!(pool());
    let above = format!("{pool}/{}", uuid::Uuid::new_v4());
    let dataset = format!("{above}/store");
    let option = format!("root.zfs={dataset}");
    let jetpack = Jetpack::uninitialized(&[&option]);
    let refused = |more: &str| jetpack.run(["-o", more, "init"]).failure(125);
    let said = refused("root.zfs=nopool/jetpack");
    assert!(said.contains("there is no ZFS pool nopool") && said.contains("help: set `root.zfs"), "{said}");
    for (more, expected) in [
        ("root.zfs=a b", "is no name of a dataset"),
        ("pods.zfs.canmount=on", "pods.zfs.canmount cannot be set"),
        ("images.zfs.compress=magic", "cannot make the dataset"),
    ] {
        let said = refused(more);
        assert!(said.contains(expected), "{more}: {said}");
        assert!(!zfs(&["list", "-H", "-o", "name"]).contains(&dataset), "{more}");
    }
    jetpack.configure("root.zfs.copies = 2\npods.zfs.quota = 100M\nimages.zfs.recordsize = 64K\n");
    jetpack.run(["init"]).success();
    let get = |name: &str, property: &str| {
        zfs(&["get", "-H", "-o", "value", property, &format!("{dataset}{name}")]).trim().to_owned()
    };
    assert_eq!([get("", "copies"), get("/pods", "quota"), get("/images", "recordsize")], ["2", "100M", "64K"]);
    assert_eq!([get("/images", "atime"), get("/images", "canmount")], ["off", "off"]);
    let compression = get("/images", "compression");
    assert!(["lz4", "on"].contains(&compression.as_str()), "{compression}");
    jetpack.run(["init"]).success();
    // Somebody's, who keeps something else in it.
    let other = format!("{pool}/{}", uuid::Uuid::new_v4());
    zfs(&["create", "-o", &format!("mountpoint={}", jetpack.path("other").display()), &other]);
    let said = refused(&format!("root.zfs={other}"));
    // Somebody's below the store's, from which it inherits what marks that.
    let below = format!("{dataset}/theirs");
    zfs(&["create", "-o", &format!("mountpoint={}", jetpack.path("other").display()), &below]);
    let inherited = refused(&format!("root.zfs={below}"));
    let stays = zfs(&["get", "-H", "-o", "value", "mountpoint", &below]);
    destroy_dataset(&below);
    assert_eq!(stays, format!("{}\n", jetpack.path("other").display()));
    let at = jetpack.path("x");
    let none = refused(&format!("root.zfs={pool}/none"));
    assert!(none.contains("there is a store at ") && none.contains("but no dataset "), "{none}");
    let elsewhere = jetpack
        .run(["-o", &format!("root.zfs={other}"), "-o", &format!("root.path={}", at.display()), "init"])
        .failure(125);
    destroy_dataset(&other);
    for said in [said, inherited, elsewhere] {
        assert!(said.contains("is none of Jetpack's and is mounted elsewhere"), "{said}");
    }
    drop(jetpack);
    destroy_dataset(&above);
}
