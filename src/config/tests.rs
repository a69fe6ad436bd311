//! The configuration as a whole, for both kernels.
use super::*;

fn parse(os: &str, text: &str, overrides: &[&str]) -> Result<Config, String> {
    let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
    Config::parse(os, Path::new("/c"), text.as_bytes(), &overrides).map_err(|e| e.to_string())
}

fn linux(text: &str, overrides: &[&str]) -> Config {
    parse("linux", text, overrides).expect("a configuration")
}

#[test]
fn defaults_by_kernel() {
    for (os, zfs, interface, storage) in
        [("linux", None, "jet0", StorageKind::Overlay), ("freebsd", Some("zroot/jetpack"), "lo1", StorageKind::Zfs)]
    {
        let config = parse(os, "", &[]).expect("defaults");
        assert_eq!(config.get("root.zfs"), zfs, "{os}");
        assert_eq!(config.get("jail.interface"), Some(interface), "{os}");
        assert_eq!(config.storage(), storage, "{os}");
        assert_eq!(config.root_path(), Path::new("/var/jetpack"), "{os}");
        assert_eq!(config.get("path.share").map(str::to_owned), Some(format!("{PREFIX}/share/jetpack")), "{os}");
        assert_eq!(config.with_prefix("ace.jailConf."), [("securelevel", "2")], "{os}");
        assert_eq!(config.with_prefix("images.zfs."), [("atime", "off"), ("compress", "lz4")], "{os}");
        assert_eq!((config.net_default(), config.isolation()), (NetKind::None, IsolationKind::Native), "{os}");
        assert!(config.warnings().is_empty(), "{os}: {:?}", config.warnings());
        let sorted: Vec<_> = config.entries().iter().map(|e| e.key).collect();
        assert!(
            sorted.is_sorted() && sorted.contains(&"root.zfs") && sorted.contains(&"mds.logfile"),
            "{os}: {sorted:?}"
        );
    }
}

#[test]
fn overrides_are_over_the_file_and_empty_unsets() {
    let text = "debug = yes\nimages.zfs.atime =\nimages.zfs.dedup = on\njail.namePrefix = a\njail.interface = em0";
    let config = linux(text, &["allow.http", "jail.namePrefix=b=c", "jail.interface="]);
    assert_eq!(config.flag("debug").ok(), Some(true));
    assert_eq!(config.flag("allow.http").ok(), Some(true));
    assert_eq!(config.flag("mds.keep-uid").ok(), Some(false));
    assert_eq!(config.get("jail.namePrefix"), Some("b=c"));
    assert_eq!(config.get("jail.interface"), None);
    assert_eq!(config.with_prefix("images.zfs."), [("compress", "lz4"), ("dedup", "on")]);
    let origin = |key| config.entries().into_iter().find(|e| e.key == key).map(|e| e.origin);
    assert_eq!(origin("debug"), Some(Origin::File { line: 1 }));
    assert_eq!(origin("allow.http"), Some(Origin::Override));
    assert_eq!(origin("mds.port"), Some(Origin::Default));
}

#[test]
fn switches() {
    for (value, expected) in [
        ("on", true),
        ("Yes", true),
        ("TRUE", true),
        ("1", true),
        ("off", false),
        ("no", false),
        ("0", false),
        ("", false),
    ] {
        assert_eq!(linux(&format!("debug = {value}"), &[]).flag("debug").ok(), Some(expected), "{value}");
    }
    let error = linux("\ndebug = onn", &[]).flag("debug").map_err(|e| e.to_string());
    assert_eq!(error, Err("/c:2: debug must be one of on, off, yes, no, true, false, 1, 0; not onn".to_owned()));
    let error = linux("", &["debug=2"]).flag("debug").map_err(|e| e.to_string());
    assert_eq!(error, Err("-o debug: debug must be one of on, off, yes, no, true, false, 1, 0; not 2".to_owned()));
}

#[test]
fn references() {
    let text = "path.prefix = /opt\nmds.pidfile = ${path.share}:${path.prefix}:${mds.logfile}\nmds.logfile =";
    assert_eq!(linux(text, &[]).get("mds.pidfile"), Some("/opt/share/jetpack:/opt:"));
    assert_eq!(linux(text, &["path.prefix=${root.path}/x"]).get("path.share"), Some("/var/jetpack/x/share/jetpack"));
    for (text, expected) in [
        ("a = 1\npath.share = ${path.pfx}/x", "/c:2: ${path.pfx}: path.pfx is not a known key"),
        ("path.share = ${mds.logfile}", "/c:1: ${mds.logfile}: mds.logfile has no value"),
        ("path.share = ${HOME}", "/c:1: ${HOME}: HOME is not a known key"),
        ("path.share = ${path.prefix", "/c:1: a ${ is not closed"),
        (
            "path.prefix = ${path.prefix}",
            "/c:1: these keys refer to each other in a circle: path.prefix -> path.prefix",
        ),
        (
            "path.prefix = x${path.share}",
            "/c:1: these keys refer to each other in a circle: path.prefix -> path.share -> path.prefix",
        ),
    ] {
        assert_eq!(parse("linux", text, &[]).expect_err(text), expected);
    }
}

#[test]
fn references_that_explode_or_nest_too_deep_are_errors() {
    let bomb: String = (0..40).map(|n| format!("x{n} = ${{x{m}}}${{x{m}}}\n", m = n + 1)).collect();
    let error = parse("linux", &format!("{bomb}x40 = boom"), &[]).expect_err("a bomb");
    assert!(error.contains("too long when expanded"), "{error}");
    let empty = linux(&format!("{bomb}x40 ="), &[]);
    assert_eq!(empty.get("x0"), None);
    let chain: String = (100..999).map(|n| format!("x{n} = ${{x{m}}}\n", m = n + 1)).collect();
    let error = parse("linux", &format!("{chain}x999 = end"), &[]).expect_err("a chain");
    assert!(error.contains("nest deeper"), "{error}");
}

#[test]
fn the_root_has_two_names() {
    for (text, overrides, expected) in [
        ("root.path = /a", &[][..], "/a"),
        ("root.zfs.mountpoint = /a", &[], "/a"),
        ("root.zfs.mountpoint = /a\nroot.path = /a/", &[], "/a"),
        ("root.zfs.mountpoint = /a\nroot.path = ${root.zfs.mountpoint}", &[], "/a"),
        ("root.zfs.mountpoint = /a", &["root.path=/b"], "/b"),
        ("root.path = /a", &["root.zfs.mountpoint=/b"], "/b"),
    ] {
        let config = linux(text, overrides);
        assert_eq!(config.root_path(), Path::new(expected), "{text} {overrides:?}");
        assert_eq!(config.get("root.path").map(Path::new), config.get("root.zfs.mountpoint").map(Path::new), "{text}");
    }
    for (text, expected) in [
        (
            "root.zfs.mountpoint = /a\nroot.path = /b",
            "/c:2: root.path (/b) and root.zfs.mountpoint (/a) are one setting and must agree",
        ),
        ("root.path = var/jetpack", "/c:1: root.path must be an absolute path, not \"var/jetpack\""),
        ("\nroot.zfs.mountpoint =", "/c:2: root.path must be an absolute path, not \"\""),
    ] {
        assert_eq!(parse("linux", text, &[]).expect_err(text), expected);
    }
}

#[test]
fn storage_and_network() {
    for (os, text, expected) in [
        ("linux", "root.zfs = tank/jetpack", StorageKind::Zfs),
        ("linux", "root.zfs = tank/jetpack\nstorage = dir", StorageKind::Dir),
        ("linux", "storage = zfs", StorageKind::Zfs),
        ("freebsd", "storage = dir", StorageKind::Dir),
        ("freebsd", "root.zfs =", StorageKind::Dir),
        #[cfg(feature = "testing")]
        ("linux", "storage = fake\nisolation = fake", StorageKind::Fake),
    ] {
        assert_eq!(parse(os, text, &[]).expect(text).storage(), expected, "{os}: {text}");
    }
    assert_eq!(linux("run.net = host", &[]).net_default(), NetKind::Host);
    assert_eq!(linux("", &[]).compression(), CompressionKind::Xz);
    assert_eq!(linux("images.aci.compression = ZSTD", &[]).compression(), CompressionKind::Zstd);
    let error = parse("linux", "images.aci.compression = lzma", &[]).expect_err("unknown");
    assert_eq!(error, "/c:1: images.aci.compression must be one of xz, bzip2, gzip, zstd, none; not lzma");
    assert_eq!(linux("", &[]).max_image_size(), Some(32 << 30));
    assert_eq!(linux("images.max-size = 512k", &[]).max_image_size(), Some(512 << 10));
    assert_eq!(linux("images.max-size =", &[]).max_image_size(), None);
    let error = parse("linux", "images.max-size = all", &[]).expect_err("no size");
    assert_eq!(error, "/c:1: images.max-size must be a size: write a size such as 512M or 10G; not \"all\"");
    let error = parse("linux", "run.net = bridge", &[]).expect_err("not yet");
    assert_eq!(error, "/c:1: run.net must be one of none, host; not bridge");
    let error = parse("linux", "", &["storage=btrfs"]).expect_err("never");
    assert!(error.starts_with("-o storage: storage must be one of overlay, dir, zfs"), "{error}");
}

#[test]
fn dns_servers_are_addresses_and_jails_have_names_that_jail_reads_as_such() {
    for text in [
        "ace.dns-servers = 192.0.2.1\t2001:db8::1",
        "ace.dns-servers =",
        "jail.namePrefix = web-1/",
        "jail.namePrefix = 12",
        "jail.namePrefix =",
    ] {
        linux(text, &[]);
    }
    for (text, expected) in [
        (
            "\nace.dns-servers = 192.0.2.1 dns.example.com",
            "/c:2: ace.dns-servers must be IP addresses, separated by blanks; \"dns.example.com\" is none",
        ),
        (
            "ace.dns-servers = 192.0.2.1,192.0.2.2",
            "/c:1: ace.dns-servers must be IP addresses, separated by blanks; \"192.0.2.1,192.0.2.2\" is none",
        ),
        ("jail.namePrefix = a.b", "/c:1: jail.namePrefix must have no `.` and no `:`; not \"a.b\""),
        ("jail.namePrefix = jet:", "/c:1: jail.namePrefix must have no `.` and no `:`; not \"jet:\""),
        (
            "mds.token-key = a:5ec2e7\njail.namePrefix = ${mds.token-key}",
            "/c:2: jail.namePrefix must have no `.` and no `:`",
        ),
    ] {
        assert_eq!(parse("linux", text, &[]).expect_err(text), expected);
    }
}

#[test]
fn unknown_keys_are_kept_and_reported() {
    for (text, expected) in [
        ("root.pth = /x", "/c:1: unknown key root.pth, did you mean root.path?"),
        ("\njail.inferface = x", "/c:2: unknown key jail.inferface, did you mean jail.interface?"),
        ("image.zfs.dedup = on", "/c:1: unknown key image.zfs.dedup, did you mean images.zfs.dedup?"),
        ("ace.jailconf.x = 1", "/c:1: unknown key ace.jailconf.x, did you mean ace.jailConf.x?"),
        ("ace.jailConf. = 1", "/c:1: unknown key ace.jailConf."),
        ("something.else = 1", "/c:1: unknown key something.else"),
        ("x = 1", "/c:1: unknown key x"),
        ("debug = on\ndebug = off", "/c:2: debug was set on line 1 already; this one counts"),
    ] {
        assert_eq!(linux(text, &[]).warnings(), [expected], "{text}");
    }
    let config = linux("", &["root.pth=/x"]);
    assert_eq!(config.warnings(), ["-o root.pth: unknown key root.pth, did you mean root.path?"]);
    assert_eq!(config.get("root.pth"), Some("/x"));
    assert!(linux("root.zfs.org.example\\:x = 1\npods.zfs.quota = 1G", &[]).warnings().is_empty());
}

#[test]
fn secrets_are_flagged_and_not_told() {
    let config = linux("mds.signing-key = 85ab\nmds.logfile = ${mds.signing-key}\nmds.token-kye = f2", &[]);
    let secret: Vec<_> = config.entries().iter().filter(|e| e.secret).map(|e| e.key).collect();
    assert_eq!(secret, ["mds.logfile", "mds.signing-key", "mds.token-key", "mds.token-kye"]);
    assert!(config.is_secret("mds.signing-key") && !config.is_secret("mds.user"));
    let error = config.flag("mds.signing-key").expect_err("not a switch").to_string();
    assert!(!error.contains("85ab") && !format!("{config:?}").contains("85ab"), "{error}");
    let error = parse("linux", "", &["mds.signing-key=${85"]).expect_err("not closed");
    assert_eq!(error, "-o mds.signing-key: a ${ is not closed");
}

#[test]
fn overrides_that_are_none() {
    for (text, expected) in [
        ("=x", "-o : the key is missing"),
        ("", "-o : the key is missing"),
        ("a b=x", "-o a b: a key may hold only printable ASCII without blanks"),
    ] {
        assert_eq!(parse("linux", "", &[text]).expect_err(text), expected);
    }
}

#[test]
fn default_paths() {
    for (prefix, expected) in [
        ("/usr/local", "/usr/local/etc/jetpack.conf"),
        ("/usr", "/etc/jetpack.conf"),
        ("/usr/", "/etc/jetpack.conf"),
        ("/opt/jetpack", "/opt/jetpack/etc/jetpack.conf"),
    ] {
        assert_eq!(default_path_in(prefix), Path::new(expected));
    }
}

#[test]
fn files() {
    let dir = std::env::temp_dir().join(format!("jetpack-config-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&dir).expect("a directory");
    let path = dir.join("jetpack.conf");
    let missing = Config::load(Some(&path), &[]).expect_err("there is none");
    assert_eq!(missing.to_string(), format!("cannot read {}", path.display()));
    assert!(std::error::Error::source(&missing).is_some());

    std::fs::write(&path, "mds.token-key = 12\n").expect("written");
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let config = Config::load(Some(&path), &["debug".to_owned()]).expect("readable");
        assert_eq!(config.warnings().len(), warnings, "{mode:o}: {:?}", config.warnings());
        assert_eq!((config.get("mds.token-key"), config.get("debug")), (Some("12"), Some("on")));
        assert_eq!(config.file(), path);
    }
    std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).expect("written");
    assert!(Config::load(Some(&path), &[]).is_err());
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn arbitrary_text_never_panics() {
    // Pieces that mean something to the parser and the expander, in every order of three.
    let pieces = ["root.path", "a", "=", "${", "}", "${a}", "\\", "\n", "\u{e9}"];
    for one in pieces {
        for two in pieces {
            for three in pieces {
                for text in [format!("{one}{two}{three}"), format!("a={one}{two}{three}\ndebug=${{a}}")] {
                    let _ = parse("linux", &text, &[]);
                    let _ = parse("freebsd", "", &[&text]);
                }
            }
        }
    }
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = include_str!("../../conf/jetpack.conf.sample");
    let setting = |l: &str| l.strip_prefix('#').filter(|l| !l.starts_with([' ', '#'])).map(|l| format!("{l}\n"));
    let text: String = sample.lines().filter_map(setting).filter(|l| !l.starts_with("path.prefix")).collect();
    // `root.path` refers to its synonym, which is given beside it.
    let config = parse("freebsd", &text, &[]).expect("the sample");
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    let placeholder = |key: &str| KEYS.iter().any(|k| k.name == key && k.family_prefix().is_some());
    let of = |config: &Config| -> Vec<(String, String)> {
        let entries = config.entries().into_iter().filter(|e| !placeholder(e.key));
        entries.map(|e| (e.key.to_owned(), e.value.to_owned())).collect()
    };
    assert_eq!(of(&config), of(&parse("freebsd", "", &[]).expect("defaults")));
}

#[test]
fn the_time_for_servers_is_a_number_of_seconds() {
    assert_eq!(linux("", &[]).fetch_timeout(), Duration::from_secs(30));
    assert_eq!(linux("fetch.timeout = 3600", &[]).fetch_timeout(), Duration::from_secs(3600));
    for value in ["0", "3601", "1.5", "-1", "30s", ""] {
        let error = parse("linux", &format!("fetch.timeout = {value}"), &[]).unwrap_err();
        assert!(error.contains("fetch.timeout must be a number of seconds from 1 to 3600; not "), "{error}");
    }
}
