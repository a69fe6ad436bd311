//! `jetpack build`

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::archive::{Archive, manifest};
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, skip};
use crate::support::pty::Terminal;

/// A store with an image whose shell is the host's, and an empty build directory with a manifest.
///
/// Nothing is isolated: a command that wants to change the image does it beside the directory in which it runs.
fn builder() -> (Jetpack, PathBuf) {
    let jetpack = Jetpack::fake();
    let text = r#"{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/base",
        "labels": [{"name": "version", "value": "7"}, {"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
        "app": {"exec": ["/bin/none"], "user": "nobody", "group": "nobody", "environment": [{"name": "COLOUR", "value": "red"}],
                "eventHandlers": [{"name": "pre-start", "exec": ["/bin/none"]}],
                "mountPoints": [{"name": "data", "path": "/data"}]} }"#;
    let text = if cfg!(target_os = "linux") { text.to_owned() } else { text.replace("linux", "freebsd") };
    let archive = Archive::with_manifest(&text)
        .file("rootfs/bin/sh", 0o755, b"#!/bin/sh\nexec /bin/sh \"$@\"\n")
        .file("rootfs/etc/motd", 0o644, b"hello\n")
        .file("rootfs/etc/old", 0o644, b"old\n");
    jetpack.import(&archive.finish());
    let directory = jetpack.path("work");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("manifest.json"), r#"{ "name": "example.com/new" }"#).expect("a manifest");
    (jetpack, directory)
}

/// The arguments of a build by a shell script.
fn arguments<'a>(directory: &'a Path, options: &'a [&'a str], script: &'a str) -> Vec<&'a OsStr> {
    let options = options.iter().map(OsStr::new);
    let build = ["build", "--dir"].map(OsStr::new).into_iter().chain([directory.as_os_str()]);
    build.chain(options).chain(["example.com/base", "sh", "-c", script].map(OsStr::new)).collect()
}

/// What the archive of an image holds: the names of its entries, a line each, and its manifest.
fn archive(jetpack: &Jetpack, id: &str) -> (Vec<String>, serde_json::Value) {
    let file = std::fs::File::open(jetpack.store().join("images").join(id).join("image.aci")).expect("the archive");
    let mut archive = tar::Archive::new(xz2::read::XzDecoder::new(file));
    let (mut names, mut manifest) = (Vec::new(), Vec::new());
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        if name == "manifest" {
            entry.read_to_end(&mut manifest).expect("a manifest");
        }
        names.push(name);
    }
    (names, serde_json::from_slice(&manifest).expect("JSON"))
}

#[test]
fn an_image_is_what_the_command_changed() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let parent = jetpack.run(["images", "-q"]).success().stdout.trim().to_owned();
    let saved = jetpack.path("id");
    let script =
        "printf '%s %s\\n' $COLOUR $AC_APP_NAME; cat; cat greeting; echo bye >../etc/motd; rm ../etc/old; mkdir ../new
        echo a >../etc/resolv.conf; echo b >../etc/hosts; touch -d @5 ../etc/motd ../new";
    let extra = jetpack.file("greeting", b"hi\n");
    let options =
        ["--cp", extra.to_str().expect("plain"), "--saveid", saved.to_str().expect("plain"), "--format", "json"];
    let mut command = jetpack.command(arguments(&directory, &options, script));
    command.env("SOURCE_DATE_EPOCH", "1414438347").stdin(std::process::Stdio::piped());
    let output = Output::of_command(&mut command, b"input\n").success();
    assert_eq!(output.stderr, "");
    let (said, json) = output.stdout.split_once('{').expect("JSON");
    assert_eq!(said, "red build\ninput\nhi\n");
    let json: serde_json::Value = serde_json::from_str(&format!("{{{json}")).expect("JSON");
    let id = std::fs::read_to_string(&saved).expect("the id");
    assert_eq!(json, serde_json::json!({ "id": id.trim(), "name": "example.com/new", "known": false }));
    let (names, manifest) = archive(&jetpack, id.trim());
    assert_eq!(names, ["manifest", "rootfs", "rootfs/etc", "rootfs/etc/motd", "rootfs/new"]);
    let os = if cfg!(target_os = "linux") { "linux" } else { "freebsd" };
    let labels = serde_json::json!([{ "name": "os", "value": os }, { "name": "arch", "value": "amd64" }]);
    let all = serde_json::json!([{ "name": "version", "value": "7" }, labels[0], labels[1]]);
    let expected = serde_json::json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/new", "labels": labels,
        "dependencies": [{ "imageName": "example.com/base", "imageID": parent, "labels": all }],
        "pathWhitelist": ["/bin", "/bin/sh", "/etc", "/etc/motd", "/new"],
        "annotations": [{ "name": "timestamp", "value": "2014-10-27T19:32:27Z" }],
    });
    assert_eq!(manifest, expected);
    let mut images = before;
    images.extend(jetpack.contents().into_iter().filter(|path| path.contains(id.trim().trim_start_matches("sha512-"))));
    images.sort();
    assert_eq!(jetpack.contents(), images, "no pod is left");
    // The same once more is the same image.
    command.env("SOURCE_DATE_EPOCH", "1414438347").stdin(std::process::Stdio::piped());
    let again = Output::of_command(&mut command, b"").success();
    assert!(again.stdout.contains(id.trim()) && again.stdout.contains("\"known\": true"), "{}", again.stdout);
}

#[test]
fn a_command_that_fails_leaves_nothing_and_its_code_is_the_code() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    for (script, code, why) in [
        ("echo x >../etc/new; exit 3", 3, "exit code 3"),
        ("kill -TERM $$", 143, "killed by SIGTERM"),
        ("kill -KILL $$", 137, "killed by SIGKILL"),
    ] {
        let said = jetpack.run(arguments(&directory, &[], script)).failure(code);
        assert_eq!(said, format!("jetpack: the build command failed: {why}\n"));
        assert_eq!(jetpack.contents(), before, "{script}");
    }
}

#[test]
fn what_cannot_be_built_is_refused_before_anything_is_made() {
    let (jetpack, directory) = builder();
    let file = jetpack.file("file", b"");
    std::fs::create_dir(jetpack.path("other")).expect("a directory");
    jetpack.file("other/file", b"");
    let (store, before) = (jetpack.store(), jetpack.contents());
    let at = |path: &Path| path.to_str().expect("plain").to_owned();
    let top = at(store.parent().expect("a directory"));
    let (file, other, made) = (at(&file), at(&jetpack.path("other/file")), at(&directory.join("manifest.json")));
    let (images, none) = (at(&store.join("images")), at(&jetpack.path("none")));
    let table: [(&[&str], &str); 10] = [
        (&["nothing", "sh"], "jetpack: there is no image \"nothing\"\nhelp: "),
        (&["--net", "bridge", "example.com/base", "sh"], "jetpack: there is no network \"bridge\"\nhelp: "),
        (&["--dir", &none, "example.com/base", "sh"], "jetpack: cannot use the build directory "),
        (&["--dir", &file, "example.com/base", "sh"], "Not a directory"),
        (&["--dir", &top, "example.com/base", "sh"], "Jetpack's store is in it\nhelp: "),
        (&["--dir", &images, "example.com/base", "sh"], "it is in Jetpack's store\nhelp: "),
        (&["--cp", &none, "example.com/base", "sh"], "none: cannot find it: No such file or directory"),
        (&["--cp", &file, "--cp", &other, "example.com/base", "sh"], "other/file: file is copied twice\n"),
        (&["--cp", &made, "example.com/base", "sh"], ": the build directory has a manifest.json already\n"),
        (
            &["--cp", "/dev/null", "example.com/base", "sh"],
            "jetpack: cannot copy /dev/null: it is neither a file nor a directory",
        ),
    ];
    for (arguments, expected) in table {
        let mut command = jetpack.command(["build"].iter().chain(arguments));
        let said = Output::of_command(command.current_dir(&directory), b"").failure(125);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(jetpack.contents(), before, "{arguments:?}");
    }
    let mut command = jetpack.command(arguments(&directory, &[], "exit 0"));
    let said = Output::of_command(command.env("SOURCE_DATE_EPOCH", "now"), b"").failure(125);
    assert!(said.starts_with("jetpack: SOURCE_DATE_EPOCH is \"now\", which is no number of seconds"), "{said}");
    let said = jetpack.run(["build", "--dir", &at(&directory), "example.com/base", "nothing"]).failure(127);
    assert!(said.starts_with("jetpack: there is no nothing in the image's PATH="), "{said}");
    assert_eq!(jetpack.contents(), before);
    // As everywhere, a word may stand before the command.
    jetpack.run(["build", "--dir", &at(&directory), "example.com/base", "--", "sh", "-c", "exit 0"]).success();
}

#[test]
fn a_manifest_that_is_wrong_is_kept_and_nothing_else() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let wrong = "the manifest.json that the command left";
    for (text, expected) in [
        ("{\n\"name\": }", format!("{wrong} breaks the specification: line 2, column 9: not JSON: expected value")),
        ("{}", format!("{wrong} breaks the specification: name: required but missing")),
        (r#"{"name": "a", "dependencies": [{"imageName": "b"}]}"#, format!("{wrong} depends on b\nhelp: ")),
        (r#"{"name": "a", "pathWhitelist": ["/x"]}"#, format!("{wrong} has a pathWhitelist\nhelp: ")),
    ] {
        std::fs::write(directory.join("manifest.json"), text).expect("a manifest");
        let mut command = jetpack.command(arguments(&directory, &[], "exit 0"));
        let said = Output::of_command(command.env("TMPDIR", jetpack.path("")), b"").failure(125);
        assert!(said.contains(&expected), "{text}: {said}");
        let path = said.strip_prefix("jetpack: cannot use the manifest, which is kept in ").expect("the path");
        let path = Path::new(path.split_once(": ").expect("the reason").0);
        assert_eq!(path.parent(), Some(&*jetpack.path("").components().collect::<PathBuf>()));
        assert_eq!(std::fs::read_to_string(path).expect("the manifest"), text);
        assert_eq!(std::fs::metadata(path).expect("the manifest").permissions().mode() & 0o777, 0o600);
        assert_eq!(jetpack.contents(), before, "{text}");
    }
    std::fs::write(directory.join("manifest.json"), "{}").expect("a manifest");
    let mut command = jetpack.command(arguments(&directory, &[], "exit 0"));
    let said = Output::of_command(command.env("TMPDIR", "/nonexistent"), b"").failure(125);
    assert!(said.starts_with(&format!("jetpack: {wrong} breaks the specification: ")), "{said}");
    assert!(said.contains("\njetpack: and then: cannot keep the manifest in /nonexistent/jetpack-manifest-"), "{said}");
    for (script, expected) in [
        ("rm manifest.json", format!("jetpack: {} no manifest.json", "the command left")),
        ("rm -r \"$PWD\"", "no manifest.json in its working directory: openat(".to_owned()),
        ("ln -sf /etc/passwd manifest.json", "it is no regular file of 1048576 bytes at most".to_owned()),
        ("rm manifest.json; mkdir manifest.json", "it is no regular file of 1048576 bytes at most".to_owned()),
        ("rm manifest.json; mkfifo manifest.json", "it is no regular file of 1048576 bytes at most".to_owned()),
        ("head -c 1048577 /dev/zero >manifest.json", "it is no regular file of 1048576 bytes at most".to_owned()),
    ] {
        let said = jetpack.run(arguments(&directory, &[], script)).failure(125);
        assert!(said.contains(&expected), "{script}: {said}");
        assert_eq!(jetpack.contents(), before, "{script}");
    }
}

#[test]
fn a_build_directory_is_copied_as_it_is() {
    let (jetpack, directory) = builder();
    symlink("loop", directory.join("loop")).expect("a link");
    symlink("../..", directory.join("up")).expect("a link");
    std::fs::create_dir(directory.join("deep")).expect("a directory");
    std::fs::write(directory.join("deep/.hidden"), "x").expect("a file");
    std::fs::set_permissions(directory.join("deep/.hidden"), PermissionsExt::from_mode(0o4710)).expect("its mode");
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).expect("a socket");
    let (tree, empty) = (jetpack.path("tree"), jetpack.path("empty"));
    std::fs::create_dir_all(tree.join("in")).expect("a directory");
    std::fs::write(tree.join("in/file"), "y").expect("a file");
    std::fs::write(&empty, "").expect("a file");
    symlink(&tree, jetpack.path("named")).expect("a link");
    let at = |name: &str| jetpack.path(name).to_str().expect("plain").to_owned();
    let options = ["--cp".to_owned(), at("named"), "--cp".to_owned(), at("empty")];
    let script = "find . | sort; readlink loop up; stat -c %a . deep/.hidden 2>/dev/null || stat -f %Lp . deep/.hidden";
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let output = jetpack.run(arguments(&directory, &options, script)).success();
    let listed =
        ".\n./deep\n./deep/.hidden\n./empty\n./loop\n./manifest.json\n./named\n./named/in\n./named/in/file\n./up\n";
    assert!(output.stdout.starts_with(&format!("{listed}loop\n../..\n755\n710\nsha512-")), "{}", output.stdout);
    assert_eq!(output.stderr, "jetpack: warning: 1 sockets and devices are left out of the build directory\n");
}

#[test]
fn what_this_user_cannot_read_is_named_and_leaves_nothing() {
    if nix::unistd::geteuid().is_root() {
        skip!("needs another user than root");
    }
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    std::fs::create_dir(directory.join("d")).expect("a directory");
    std::fs::write(directory.join("d/secret"), "").expect("a file");
    std::fs::set_permissions(directory.join("d/secret"), PermissionsExt::from_mode(0o000)).expect("its mode");
    let said = jetpack.run(arguments(&directory, &[], "exit 0")).failure(125);
    assert!(said.contains("/work/d/secret into the build pod: openat("), "{said}");
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn what_nobody_can_read_is_named_and_leaves_nothing() {
    let sysctl = Path::new("/proc/sys/net/ipv4/route");
    if !sysctl.join("flush").exists() {
        skip!("needs {}", sysctl.join("flush").display());
    }
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let said = jetpack.run(arguments(&directory, &["--cp", "/proc/self/mem"], "exit 0")).failure(125);
    assert!(said.contains("cannot copy /proc/"), "{said}");
    assert_eq!(jetpack.contents(), before);
    let said = jetpack.run(arguments(sysctl, &[], "exit 0")).failure(125);
    assert!(
        said.starts_with("jetpack: cannot copy /proc/sys/net/ipv4/route/flush into the build pod: openat("),
        "{said}"
    );
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn a_pod_can_be_kept() {
    let (jetpack, directory) = builder();
    for (script, code) in [("echo x >left", 0), ("echo x >left; exit 4", 4)] {
        let output = jetpack.run(arguments(&directory, &["--keep"], script));
        assert_eq!(output.code, code, "{}", output.stderr);
        let pod =
            output.stderr.strip_prefix("jetpack: the build pod ").expect("the pod").split(' ').next().expect("it");
        assert!(
            output.stderr.contains(&format!(" is kept; `jetpack destroy {pod}` removes it\n")),
            "{}",
            output.stderr
        );
        let listed = jetpack.run(["list", "-H"]).success().stdout;
        assert!(listed.starts_with(pod) && listed.contains("  exited  "), "{listed}");
        let root = jetpack.store().join("pods").join(pod).join("apps/build/root");
        let names = std::fs::read_dir(root).expect("the root").map(|e| e.expect("an entry").file_name());
        let work: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".jetpack-build-")).collect();
        assert_eq!(work.len(), 1);
        let shown = jetpack.run(["manifest", pod]).success().stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let annotations = shown["annotations"].as_array().expect("annotations");
        let has = |name: &str, value: &str| annotations.contains(&serde_json::json!({ "name": name, "value": value }));
        let is_jail = has("jetpack/jail.conf/securelevel", "0");
        assert!(has("jetpack/build", &work[0].to_string_lossy()), "{shown}");
        assert_eq!(is_jail, std::env::consts::OS == "freebsd", "{shown}");
        jetpack.run(["destroy", pod]).success();
    }
}

#[test]
fn signals_end_a_build_and_leave_nothing() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let ready = directory.join("../ready");
        let script = format!("touch {}; while :; do sleep 0.05; done", ready.display());
        let mut child = jetpack.spawn(arguments(&directory, &[], &script));
        until("the command runs", || ready.exists());
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
        assert_eq!(ended(&mut child).code(), Some(code));
        assert_eq!(jetpack.contents(), before, "{signal}");
        std::fs::remove_file(&ready).expect("the file");
    }
    // While files are copied or packed, nobody is there to whom the signal could be passed on.
    let large = std::fs::File::create(directory.join("large")).expect("a file");
    large.set_len(1 << 30).expect("its length");
    let mut child = jetpack.spawn(arguments(&directory, &[], "mv large ../etc/large"));
    until("there is a pod", || jetpack.contents() != before);
    std::thread::sleep(std::time::Duration::from_millis(300));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    assert_eq!(ended(&mut child).code(), Some(130));
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn a_signal_ends_a_build_that_is_imported_already() {
    let (jetpack, directory) = builder();
    jetpack.configure("images.aci.compression = none\n");
    let before = jetpack.contents();
    let large = std::fs::File::create(directory.join("large")).expect("a file");
    large.set_len(256 << 20).expect("its length");
    let mut terminal = Terminal::start(&jetpack.command(arguments(&directory, &[], "mv large ../etc/large")));
    terminal.expect("unpacking a build on");
    terminal.kill(Signal::SIGTERM);
    let (code, said) = terminal.end();
    assert_eq!((code, said.contains("the build was interrupted by SIGTERM\r\n")), (143, true), "{said}");
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn a_build_that_was_killed_leaves_a_pod_to_destroy() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let ready = jetpack.path("ready");
    let script = format!("touch {}; while [ -e manifest.json ]; do sleep 0.05; done", ready.display());
    let mut child = jetpack.spawn(arguments(&directory, &[], &script));
    until("the command runs", || ready.exists());
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    until("the pod has exited", || jetpack.run(["list", "-H"]).success().stdout.contains("  exited  "));
    let pod = jetpack.run(["list", "-q"]).success().stdout;
    jetpack.run(["destroy", pod.trim()]).success();
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn builds_at_once_save_whole_ids() {
    let (jetpack, directory) = builder();
    let saved = jetpack.path("id");
    let options = ["--saveid", saved.to_str().expect("plain")];
    let scripts: Vec<String> = (0..4).map(|n| format!("echo {n} >../etc/motd")).collect();
    let mut builds: Vec<_> = scripts.iter().map(|s| jetpack.spawn(arguments(&directory, &options, s))).collect();
    let mut seen = std::collections::BTreeSet::new();
    while builds.iter_mut().any(|child| child.try_wait().expect("a child").is_none()) {
        seen.extend(std::fs::read_to_string(&saved));
    }
    seen.extend(std::fs::read_to_string(&saved));
    let ids = builds.into_iter().map(|child| Output::of(child.wait_with_output().expect("it ends")).success().stdout);
    let ids: std::collections::BTreeSet<String> = ids.collect();
    assert_eq!(ids.len(), 4);
    assert!(!seen.is_empty() && seen.is_subset(&ids), "{seen:?}");
    let names = std::fs::read_dir(jetpack.path("")).expect("the directory").map(|e| e.expect("an entry").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with('.')));
}

#[test]
fn an_image_whose_id_cannot_be_saved_is_not_there() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let nowhere = jetpack.path("none/id");
    let options = ["--saveid", nowhere.to_str().expect("plain")];
    let said = jetpack.run(arguments(&directory, &options, "exit 0")).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot write the id to {}: ", nowhere.display())), "{said}");
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn an_image_is_compressed_as_configured() {
    let (jetpack, directory) = builder();
    let before = jetpack.contents();
    let magic: [(&str, &[u8]); 5] = [
        ("xz", b"\xfd7zXZ"),
        ("gzip", b"\x1f\x8b"),
        ("bzip2", b"BZh"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("none", b"manifest\0"),
    ];
    for (kind, magic) in magic {
        jetpack.configure(&format!("images.aci.compression = {kind}\n"));
        let mut command = jetpack.command(arguments(&directory, &[], "exit 0"));
        let id = Output::of_command(command.env("SOURCE_DATE_EPOCH", "9"), b"").success().stdout;
        let archive = std::fs::read(jetpack.store().join("images").join(id.trim()).join("image.aci")).expect("it");
        assert!(archive.starts_with(magic), "{kind}");
        jetpack.run(["destroy-image", id.trim()]).success();
    }
    assert_eq!(jetpack.contents(), before);
    jetpack.configure("images.aci.compression = lz4\n");
    let said = jetpack.run(arguments(&directory, &[], "exit 0")).failure(125);
    assert!(said.contains("images.aci.compression must be one of xz, bzip2, gzip, zstd, none"), "{said}");
}

#[test]
fn an_image_without_anything_is_built_upon() {
    let jetpack = Jetpack::fake();
    jetpack.import(&Archive::with_manifest(&manifest("empty", None)).finish());
    let directory = jetpack.path("work");
    std::fs::create_dir(&directory).expect("a directory");
    let script = b"#!/bin/sh\necho '{\"name\": \"a\"}' >manifest.json\n";
    std::fs::write(directory.join("make"), script).expect("a script");
    std::fs::set_permissions(directory.join("make"), PermissionsExt::from_mode(0o755)).expect("its mode");
    let mut command = jetpack.command(["build", "empty", "./make"]);
    let id = Output::of_command(command.current_dir(&directory), b"").success().stdout;
    assert_eq!(archive(&jetpack, id.trim()).0, ["manifest", "rootfs"]);
}
