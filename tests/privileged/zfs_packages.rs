//! Images and pods that are moved between stores in ZFS pools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::{Image, NAME, shell};
use super::zfs::{datasets, zfs};
use crate::support::archive::{Archive, compressed};
use crate::support::command::{Jetpack, Output, destroy_dataset, or_skip, pool};
use crate::support::gpg::{Gpg, made_beforehand, trust};

fn import(jetpack: &Jetpack, path: &Path) -> Output {
    jetpack.run(["--insecure-options".as_ref(), "image".as_ref(), "import".as_ref(), path.as_os_str()])
}

/// Makes a package; gives its path.
#[track_caller]
fn package(jetpack: &Jetpack, words: &[&str], name: &str) -> PathBuf {
    let path = jetpack.path(name);
    let all = ["export", "--zfs"].iter().chain(words).map(AsRef::as_ref).chain([path.as_os_str()]);
    assert_eq!(jetpack.run(all).success().stdout, "");
    path
}

/// The files of a package with their names.
fn files(package: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(package).expect("a package"));
    let entries = archive.entries().expect("entries").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its bytes");
        (entry.path().expect("a name").display().to_string(), bytes)
    });
    entries.collect()
}

/// A package of such files.
fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(Archive::new(), |archive, (name, bytes)| archive.file(name, 0o600, bytes)).finish()
}

/// What zfs(8) sends.
fn sent(words: &[&str]) -> Vec<u8> {
    let output = Command::new("zfs").arg("send").args(words).output().expect("zfs starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `show-image` tells programs.
fn record(jetpack: &Jetpack, image: &str) -> serde_json::Value {
    let shown = jetpack.run(["--format", "json", "show-image", image]).success().stdout;
    serde_json::from_str(&shown).expect("JSON")
}

/// The dataset of an image.
fn dataset(jetpack: &Jetpack, image: &str) -> String {
    let layer = record(jetpack, image)["layers"][0].as_str().expect("a layer").to_owned();
    format!("{}/images/{layer}", jetpack.dataset().expect("a dataset"))
}

fn origin(dataset: &str) -> String {
    zfs(&["get", "-H", "-o", "value", "origin", dataset]).trim().to_owned()
}

/// A store with busybox-base and an image on it.
fn two_images() -> Result<Jetpack, String> {
    let jetpack = super::pods("zfs")?;
    let app: serde_json::Value = serde_json::from_str(&shell("0", "")).expect("JSON");
    let manifest = serde_json::json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": NAME, "app": app,
        "dependencies": [{ "imageName": "busybox-base" }],
    });
    // Of the directory the archive says nothing.
    let top = Image::of(&manifest.to_string()).owned("etc/deep/own", 0o4750, (5, 6), b"own");
    jetpack.import(&compressed("gzip", &top.finish()));
    Ok(jetpack)
}

#[test]
fn what_a_killed_export_of_a_pod_left_is_collected() {
    let jetpack = or_skip!(super::pods("zfs"));
    let prepare = || jetpack.run(["prepare", "busybox-base"]).success().stdout.trim().to_owned();
    let (one, other) = (prepare(), prepare());
    let pods = format!("{}/pods", jetpack.dataset().expect("a dataset"));
    let left = |pod: &str| format!("{pods}/{pod}/app.busybox-base@sent");
    for pod in [&one, &other] {
        zfs(&["snapshot", &left(pod)]);
    }
    // One that is being exported keeps its own.
    let lock = fs::File::open(jetpack.store().join("state/prepared").join(&other).join("lock")).expect("a lock");
    lock.lock().expect("it is free");
    jetpack.run(["gc"]).success();
    let found = || zfs(&["list", "-H", "-t", "snapshot", "-o", "name", "-r", &pods]);
    assert!(!found().contains(&left(&one)) && found().contains(&left(&other)), "{}", found());
    drop(lock);
    jetpack.run(["gc"]).success();
    assert!(!found().contains("@sent"), "{}", found());
    jetpack.run(["destroy", &one, &other]).success();
}

#[test]
fn images_move_whole_and_as_increments_and_can_move_on() {
    let here = or_skip!(two_images());
    let base = package(&here, &["busybox-base"], "base");
    let top = package(&here, &["--incremental", NAME], "top");
    let whole = package(&here, &[NAME], "whole");
    let names: Vec<String> = files(&top).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["jetpack.json", "image.aci", "tree.zfs"]);
    let length = |package: &Path| files(package)[2].1.len();
    assert!(length(&top) < 1 << 20 && length(&whole) > 1 << 20, "{} {}", length(&top), length(&whole));
    let there = or_skip!(Jetpack::on_another_host());
    // Its archive is of the image, too, but its dataset has another history.
    let packed = fs::read(&top).expect("a package");
    let compressed = there.file("top.xz", &self::compressed("xz", &packed));
    let said = import(&there, &compressed).failure(125);
    assert!(said.contains("the image depends on busybox-base (sha512-"), "{said}");
    for (path, image) in [(&base, "busybox-base"), (&compressed, NAME)] {
        let id = import(&there, path).success().stdout;
        let received = |jetpack| zfs(&["get", "-H", "-o", "value", "jetpack:received", &dataset(jetpack, image)]);
        assert_eq!((received(&here).trim(), received(&there).trim()), ("-", "yes"));
        assert_eq!(id.trim(), record(&here, image)["id"]);
        let (mut theirs, mut ours) = (record(&there, image), record(&here, image));
        for record in [&mut theirs, &mut ours] {
            record["imported"].take();
            record["origin"].take();
        }
        assert_eq!(theirs, ours);
    }
    assert_eq!(origin(&dataset(&there, NAME)), dataset(&there, "busybox-base") + "@seal");
    let look = "cat /etc/deep/own; stat -c '%a %u:%g %Y' /etc/deep/own";
    let seen = |jetpack: &Jetpack| jetpack.run(["run", "--destroy", NAME, "--", look]).success().stdout;
    assert_eq!((seen(&there), seen(&here)), ("own4750 5:6 1000000000\n".to_owned(), seen(&there)));
    let archives = [&here, &there].map(|jetpack| {
        jetpack.run(["export", NAME, jetpack.path("aci").to_str().expect("plain")]).success();
        fs::read(jetpack.path("aci")).expect("an archive")
    });
    assert!(archives[0] == archives[1]);
    // What came can be sent on, to a store to which only the first image came from the first.
    let third = or_skip!(Jetpack::real("zfs"));
    here.run(["destroy-image", NAME, "busybox-base"]).success();
    import(&third, &base).success();
    let onwards = package(&there, &["--incremental", NAME], "onwards");
    import(&third, &onwards).success();
    assert_eq!(seen(&third), seen(&there));
    let again = import(&third, &whole).success();
    assert!(again.stderr.contains("this image was in the store already"), "{}", again.stderr);
    let expected = seen(&third);
    for jetpack in [&there, &third] {
        jetpack.run(["destroy-image", NAME, "busybox-base"]).success();
        assert_eq!((datasets(jetpack), jetpack.contents()), (vec!["images".to_owned(), "pods".to_owned()], Vec::new()));
    }
    // A whole one needs the image that it depends on, but not its dataset.
    let fourth = or_skip!(super::pods("zfs"));
    import(&fourth, &whole).success();
    assert_eq!((origin(&dataset(&fourth, NAME)), seen(&fourth)), ("-".to_owned(), expected));
    let said = fourth.run(["export", "--zfs", "--incremental", NAME]).failure(125);
    assert!(said.contains("\nhelp: if it was not made as a clone here, export it without --incremental"), "{said}");
}

#[test]
fn an_increment_needs_the_dataset_of_the_image_below_and_not_another_of_that_image() {
    let here = or_skip!(two_images());
    let top = package(&here, &["--incremental", NAME], "top");
    // The same pool has the dataset that the stream builds on, but this store has another of the same files.
    let there = or_skip!(super::pods("zfs"));
    let before = datasets(&there);
    let said = import(&there, &top).failure(125);
    assert!(said.contains("help: an increment takes the image that it builds on from a package, too"), "{said}");
    assert_eq!(datasets(&there), before);
    assert_eq!(there.run(["-q", "images"]).success().stdout.lines().count(), 1);
}

const POINT: &str = r#""mountPoints": [{ "name": "data", "path": "/srv" }]"#;

#[test]
fn a_pod_moves_with_what_it_has_written_and_runs_on() {
    let here = or_skip!(or_skip!(Image::new(Some(&shell("0", POINT)), &[])).into_store("zfs"));
    let script = "cat /kept /srv/kept 2>/dev/null; echo x >>/kept; echo y >>/srv/kept; rm -f /bin/wget; chown 5:6 /srv";
    let pod = here.run(["prepare", NAME, "--disk", "100M", "--", script]).success().stdout.trim().to_owned();
    let prepared = package(&here, &[&pod], "prepared");
    assert_eq!(here.run(["run", &pod]).success().stdout, "");
    let whole = package(&here, &[&pod[..8]], "whole");
    let increment = package(&here, &["--incremental", &pod], "increment");
    let names: Vec<String> = files(&whole).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["jetpack.json", "manifest", &format!("app.{NAME}.zfs"), "volume.data.zfs"]);
    let snapshots = zfs(&["list", "-H", "-o", "name", "-t", "snapshot", "-r", here.dataset().expect("a dataset")]);
    assert!(!snapshots.contains("@sent"), "{snapshots}");
    let there = or_skip!(Jetpack::on_another_host());
    let said = import(&there, &whole).failure(125);
    assert!(said.contains(&format!("the app {NAME} needs image sha512-")), "{said}");
    assert!(said.contains("\nhelp: import the images of the pod before it"), "{said}");
    assert_eq!(datasets(&there), ["images", "pods"]);
    import(&there, &package(&here, &[NAME], "image")).success();
    let image = datasets(&there);
    for (path, state, first) in
        [(&whole, "exited", "x\ny\n"), (&increment, "exited", "x\ny\n"), (&prepared, "prepared", "")]
    {
        assert_eq!(import(&there, path).success().stdout, format!("{pod}\n"));
        let listed = there.run(["list", "-H"]).success().stdout;
        assert!(listed.contains(&pod) && listed.contains(state), "{listed}");
        let said = import(&there, path).failure(125);
        assert!(said.contains(&format!("pod {pod} is here already\nhelp: ")), "{said}");
        let app = format!("{}/pods/{pod}/app.{NAME}", there.dataset().expect("a dataset"));
        let expected = if path == &increment { dataset(&there, NAME) + "@seal" } else { "-".to_owned() };
        assert_eq!(origin(&app), expected);
        let properties = zfs(&["get", "-H", "-o", "value", "jetpack:app,refquota", &app]);
        assert_eq!(properties, format!("{NAME}\n100M\n"));
        assert_eq!(there.run(["run", &pod]).success().stdout, first);
        let look = there.run(["exec", &pod, "sh", "-c", "stat -c %u:%g /srv; cat /kept; ls /bin/wget"]);
        assert_eq!(look.code, 1);
        assert_eq!(look.stdout, format!("5:6\n{}", "x\n".repeat(1 + first.len() / 4)));
        there.run(["destroy", &pod]).success();
        assert_eq!(datasets(&there), image);
    }
    // The one that it was made of is as it was.
    assert_eq!(here.run(["run", &pod]).success().stdout, "x\ny\n");
}

#[test]
fn a_pod_that_runs_or_has_something_of_its_host_does_not_move() {
    let jetpack = or_skip!(super::pods("zfs"));
    let pod = |words: &[&str]| {
        let all = ["prepare"].iter().chain(words).chain(&["busybox-base", "--", "sleep", "1000"]);
        jetpack.run(all).success().stdout.trim().to_owned()
    };
    let host = pod(&["--net", "host"]);
    let said = jetpack.run(["export", "--zfs", &host]).failure(125);
    assert!(said.contains("the pod has the network of its host, and cannot be moved\nhelp: "), "{said}");
    let plain = pod(&[]);
    let path = package(&jetpack, &[&plain], "plain");
    jetpack.run(["destroy", &plain]).success();
    // Nor does one come that somebody else has let out.
    let mut files = files(&path);
    let manifest = String::from_utf8(files[1].1.clone()).expect("text");
    let annotation = r#""name": "jetpack/jail.conf/securelevel", "value": "0""#;
    let changed =
        manifest.replace(r#""name": "jetpack/net""#, &format!("{annotation}}}, {{ \"name\": \"jetpack/net\""));
    assert_ne!(changed, manifest);
    files[1].1 = changed.into_bytes();
    let before = datasets(&jetpack);
    let said = import(&jetpack, &jetpack.file("changed", &packed(&files))).failure(125);
    assert!(said.contains("has the setting jetpack/jail.conf/securelevel of its host"), "{said}");
    assert_eq!(datasets(&jetpack), before);
    let running = pod(&[]);
    let mut child = jetpack.spawn(["run", &running]);
    crate::support::bounded::until("it runs", || jetpack.run(["list"]).success().stdout.contains("running"));
    let said = jetpack.run(["export", "--zfs", &running]).failure(125);
    jetpack.run(["kill", "--grace", "0", &running]).success();
    crate::support::bounded::ended(&mut child);
    assert!(said.contains(&format!("pod {running} is running\nhelp: end it first")), "{said}");
}

#[test]
fn other_kinds_of_store_take_no_packages_and_say_what_they_take() {
    let here = or_skip!(super::pods("zfs"));
    let path = package(&here, &["busybox-base"], "base");
    for kind in ["overlay", "dir"] {
        let there = or_skip!(super::pods(kind));
        let before = there.contents();
        let said = import(&there, &path).failure(125);
        let expected = format!(
            ": it is a package of zfs(8), and the store is of kind {kind}\nhelp: export the image without --zfs"
        );
        assert!(said.contains(&expected), "{said}");
        let said = there.run(["export", "--zfs", "busybox-base"]).failure(125);
        assert!(said.contains(&format!("a store of kind {kind} has no streams of zfs(8)\nhelp: ")), "{said}");
        assert_eq!(there.contents(), before);
    }
    // What nobody has signed is taken by nobody who did not say so.
    let there = or_skip!(Jetpack::on_another_host());
    let said = there.run(["import".as_ref(), path.as_os_str()]).failure(125);
    assert!(said.contains(" is not signed\nhelp: "), "{said}");
    assert_eq!(datasets(&there), ["images", "pods"]);
}

#[test]
fn signatures_of_archives_come_along() {
    let here = or_skip!(super::pods("zfs"));
    trust(&here, &["--root"], &made_beforehand("rsa.key"));
    let [signature, archive] = ["rsa.asc", "app.tar.gz"].map(made_beforehand);
    let words = ["import", "--sig", signature.to_str().expect("plain"), archive.to_str().expect("plain")];
    let id = here.run(words).success().stdout;
    let signed = package(&here, &[id.trim()], "signed");
    let mut files = files(&signed);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["jetpack.json", "image.aci", "image.aci.asc", "tree.zfs"]);
    let there = or_skip!(Jetpack::on_another_host());
    let signer = |jetpack: &Jetpack| record(jetpack, id.trim())["trust"]["signed"][0]["user_id"].clone();
    // Whose key is not trusted there has signed nothing.
    let said = import(&there, &signed).success().stderr;
    assert!(said.contains("is not trusted; it is not kept"), "{said}");
    assert_eq!(signer(&there), serde_json::Value::Null);
    there.run(["destroy-image", id.trim()]).success();
    trust(&there, &["--prefix", "example.com/app"], &made_beforehand("rsa.key"));
    let said = import(&there, &signed).success().stderr;
    assert!(!said.contains("it is not kept"), "{said}");
    assert_eq!(signer(&there), "rsa <rsa@example.com>");
    let back = there.path("back");
    there.run(["export", id.trim(), back.to_str().expect("plain")]).success();
    assert_eq!(fs::read(there.path("back.asc")).expect("it"), fs::read(&signature).expect("it"));
    there.run(["destroy-image", id.trim()]).success();
    files[2].1 = fs::read(made_beforehand("other.asc")).expect("a signature of something else");
    let said = import(&there, &there.file("changed", &packed(&files))).success().stderr;
    assert!(said.contains("; it is not kept"), "{said}");
    assert_eq!(record(&there, id.trim())["trust"], "unsigned");
}

#[test]
fn packages_are_signed_as_files_are() {
    let gpg = or_skip!(Gpg::new());
    let fingerprint = gpg.key("Mover", "ed25519", "sign", "0", &[]);
    let here = or_skip!(super::pods("zfs"));
    let there = or_skip!(Jetpack::on_another_host());
    let key = there.file("key", &gpg.export("Mover"));
    let prepared = here.run(["-q", "prepare", "busybox-base"]).success().stdout;
    let [image, pod] = [("busybox-base", "image"), (prepared.trim(), "pod")].map(|(what, name)| {
        let package = package(&here, &[what], name);
        gpg.sign("Mover", &package, &[]);
        package
    });
    let taken = |path: &Path| there.run(["import".as_ref(), path.as_os_str()]);
    trust(&there, &["--prefix", "busybox-base"], &key);
    taken(&image).success();
    assert_eq!(record(&there, "busybox-base")["trust"]["signed"][0]["fingerprint"], fingerprint);
    // It is one of the package, and none of the archive.
    let back = there.path("back");
    there.run(["export", "busybox-base", back.to_str().expect("plain")]).success();
    assert!(!there.path("back.asc").exists());
    let said = taken(&pod).failure(125);
    assert!(said.contains("the signature does not count for a pod: Mover (key "), "{said}");
    assert!(said.contains("`jetpack trust --root "), "{said}");
    assert_eq!(there.run(["-q", "list"]).success().stdout, "");
    trust(&there, &["--root"], &key);
    taken(&pod).success();
    there.run(["destroy", prepared.trim()]).success();
}

/// Datasets in which a test prepares streams.
struct Workshop {
    jetpack: Jetpack,
    root: String,
}

impl Workshop {
    fn new() -> Result<Workshop, String> {
        let jetpack = super::pods("zfs")?;
        let root = format!("{}/{}", pool()?, uuid::Uuid::new_v4());
        let at = jetpack.path("work");
        zfs(&["create", "-o", &format!("mountpoint={}", at.display()), &root]);
        Ok(Workshop { jetpack, root })
    }

    /// A dataset with a snapshot, `x`, made of another if there is one, and what a script makes in it.
    fn dataset(&self, name: &str, of: Option<&str>, script: &str) -> String {
        let dataset = format!("{}/{name}", self.root);
        match of {
            Some(snapshot) => zfs(&["clone", snapshot, &dataset]),
            None => zfs(&["create", &dataset]),
        };
        let at = self.jetpack.path("work").join(name);
        let status = Command::new("sh").args(["-ec", script]).current_dir(at).status().expect("a shell");
        assert!(status.success(), "{script}");
        zfs(&["snapshot", &format!("{dataset}@x")]);
        format!("{dataset}@x")
    }

    /// A snapshot of the dataset that all the others are in.
    fn above(&self) -> String {
        let snapshot = format!("{}@above", self.root);
        zfs(&["snapshot", &snapshot]);
        snapshot
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        destroy_dataset(&self.root);
    }
}

/// The package of busybox-base that a workshop has made, and a store that it goes to with another stream in it.
struct Forgery {
    work: Workshop,
    good: Vec<(String, Vec<u8>)>,
    there: Jetpack,
}

impl Forgery {
    fn new() -> Result<Forgery, String> {
        let work = Workshop::new()?;
        let good = files(&package(&work.jetpack, &["busybox-base"], "base"));
        Ok(Forgery { work, good, there: Jetpack::on_another_host()? })
    }

    fn stream(&self) -> &[u8] {
        &self.good[2].1
    }

    fn with(&self, stream: &[u8]) -> Vec<u8> {
        let mut files = self.good.clone();
        files[2].1 = stream.to_vec();
        packed(&files)
    }

    #[track_caller]
    fn refused_file(&self, what: &str, bytes: &[u8], expected: &str) {
        let output = import(&self.there, &self.there.file("package", bytes));
        assert_eq!(output.code, 125, "{what}: {output:?}");
        assert!(output.stderr.contains(expected), "{what}: {}", output.stderr);
        assert_eq!(datasets(&self.there), ["images", "pods"], "{what}");
        assert_eq!(self.there.contents(), [""; 0], "{what}");
    }

    #[track_caller]
    fn refused(&self, what: &str, stream: &[u8], expected: &str) {
        self.refused_file(what, &self.with(stream), expected);
    }
}

#[test]
fn what_is_no_stream_or_not_all_of_one_is_refused_and_leaves_nothing() {
    let forgery = or_skip!(Forgery::new());
    let bare = forgery.stream();
    let expected = " is a bare stream of zfs(8), which does not say of what\nhelp: let `jetpack export --zfs`";
    forgery.refused_file("a bare stream", bare, expected);
    for compression in ["gzip", "xz", "zstd", "bzip2"] {
        forgery.refused_file(compression, &compressed(compression, bare), expected);
    }
    forgery.refused("nothing", b"", "it does not begin as zfs send does");
    forgery.refused("no stream", &[b'x'; 4096], "it does not begin as zfs send does");
    for length in [312, 4096, bare.len() / 2, bare.len() - 312] {
        forgery.refused("a stream cut short", &bare[..length], "cannot take the image's dataset: cannot run ");
    }
    let mut bent = bare.to_vec();
    let middle = bent.len() / 2;
    bent[middle..middle + 4096].fill(0xff);
    forgery.refused("a broken stream", &bent, "cannot take the image's dataset: ");
    // The type of the dataset, on machines of little endian.
    let mut volume = bare.to_vec();
    volume[32] = 3;
    forgery.refused("a volume", &volume, "it is not of a filesystem");
}

#[test]
fn properties_children_and_further_snapshots_are_refused_and_leave_nothing() {
    let forgery = or_skip!(Forgery::new());
    let several = "it is a package of several snapshots, or has properties";
    for property in ["setuid=on", "exec=on", "devices=on", "canmount=on"] {
        let (name, _) = property.split_once('=').expect("a property");
        let snapshot = forgery.work.dataset(name, None, "mkdir tree");
        zfs(&["set", property, snapshot.trim_end_matches("@x")]);
        forgery.refused(property, &sent(&["-p", &snapshot]), several);
    }
    // Its mount point is set, too.
    forgery.refused("a mount point", &sent(&["-p", &forgery.work.above()]), several);
    let parent = forgery.work.dataset("parent", None, "mkdir tree");
    forgery.work.dataset("parent/child", None, "mkdir tree");
    let later = parent.replace("@x", "@y");
    zfs(&["snapshot", "-r", &later]);
    forgery.refused("children", &sent(&["-R", &later]), several);
    forgery.refused("snapshots", &sent(&["-I", "@x", &later]), several);
    forgery.refused("an increment", &sent(&["-i", "@x", &later]), "it is an increment and ought to be whole");
}

#[test]
fn files_that_the_archive_does_not_make_are_refused_and_leave_nothing() {
    let forgery = or_skip!(Forgery::new());
    let seal = dataset(&forgery.work.jetpack, "busybox-base") + "@seal";
    let odd = "the stream is not that of a store's dataset";
    for (name, script) in [("link", "ln -s /etc tree"), ("file", "echo x >tree"), ("empty", ":")] {
        forgery.refused(name, &sent(&[&forgery.work.dataset(name, None, script)]), odd);
    }
    forgery.refused("more", &sent(&[&forgery.work.dataset("more", Some(&seal), "mkdir other")]), odd);
    let scripts = [
        "echo x >>tree/etc/passwd",
        "chmod u+s tree/bin/busybox",
        "chown 5 tree/etc",
        "rm tree/etc/group",
        "touch tree/new",
        "rm -r tree/bin; ln -s / tree/bin",
        "touch -d @5 tree/etc/group",
        "mkfifo tree/fifo",
        "ln tree/etc/group tree/other",
        "setfattr -n user.x -v y tree/etc/group",
    ];
    for (n, script) in scripts.into_iter().enumerate() {
        let stream = sent(&[&forgery.work.dataset(&format!("changed{n}"), Some(&seal), script)]);
        forgery.refused(script, &stream, "the stream is not what the archive makes: ");
    }
    // When a directory was changed says nothing: an archive need not tell.
    let stream = sent(&[&forgery.work.dataset("touched", Some(&seal), "touch tree/etc")]);
    let there = &forgery.there;
    import(there, &there.file("package", &forgery.with(&stream))).success();
    there.run(["destroy-image", "busybox-base"]).success();
    assert_eq!(datasets(there), ["images", "pods"]);
}

#[test]
fn a_package_that_claims_something_else_is_refused() {
    let jetpack = or_skip!(two_images());
    let good = files(&package(&jetpack, &[NAME], "top"));
    let other = files(&package(&jetpack, &["busybox-base"], "base"));
    let there = or_skip!(super::pods("zfs"));
    let before = (datasets(&there), there.contents());
    let refused = |what: &str, files: &[(String, Vec<u8>)], expected: &str| {
        let said = import(&there, &there.file("package", &packed(files))).failure(125);
        assert!(said.contains(expected), "{what}: {said}");
        assert_eq!((datasets(&there), there.contents()), before, "{what}");
    };
    let head = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut files = good.clone();
        let mut head: serde_json::Value = serde_json::from_slice(&files[0].1).expect("JSON");
        change(&mut head);
        files[0].1 = serde_json::to_vec(&head).expect("JSON");
        files
    };
    let base = record(&jetpack, "busybox-base")["id"].clone();
    let top = record(&jetpack, NAME)["id"].clone();
    refused("another id", &head(&|head| head["image"]["id"] = base.clone()), "the archive is that of sha512-");
    let on_itself = head(&|head| head["image"]["dependencies"] = serde_json::json!([top]));
    refused("another dependency", &on_itself, "the image depends on busybox-base (sha512-");
    refused("no dependency", &head(&|head| head["image"]["dependencies"] = serde_json::json!([])), "and not on 0");
    let newer = "the package has format 2, this program knows 1\nhelp: use the version of Jetpack";
    refused("a newer format", &head(&|head| head["format"] = 2.into()), newer);
    refused("no format", &head(&|head| head["format"].take().as_null().unwrap_or(())), "no readable format version");
    refused("no content", &head(&|head| head["image"] = serde_json::Value::Null), "cannot understand jetpack.json");
    let mut files = good.clone();
    files[1].1.clone_from(&other[1].1);
    refused("another archive", &files, "the archive is that of sha512-");
    files = good.clone();
    files[2].1.clone_from(&other[2].1);
    refused("the dataset of another", &files, "the stream is not what the archive makes: ");
    files = good.clone();
    files.swap(1, 2);
    refused("another order", &files, "the package has \"tree.zfs\" where image.aci belongs");
    refused("too little", &good[..2], "the package has no tree.zfs");
    refused(
        "too much",
        &[good.clone(), vec![("more".to_owned(), Vec::new())]].concat(),
        "more in it than belongs there",
    );
    let whole = packed(&good);
    for length in [600, 2000, whole.len() / 2, whole.len() - 2048] {
        let said = import(&there, &there.file("package", &whole[..length])).failure(125);
        assert!(said.contains("in the package: ") || said.contains("cannot import"), "{said}");
        assert_eq!((datasets(&there), there.contents()), before, "{length}");
    }
    // A name is the image's, and a pod has none.
    let path = there.file("package", &whole);
    let words = ["--insecure-options", "image", "import", "--name", "other", path.to_str().expect("plain")];
    assert!(there.run(words).failure(125).contains(&format!("the image is called {NAME}, not other")));
    assert_eq!((datasets(&there), there.contents()), before);
}
