use super::*;
use crate::stage2::users::{parse_group, parse_passwd};
use crate::sys::process::Seccomp;

fn app(user: &str, group: &str) -> AppSpec {
    AppSpec {
        name: "web".into(),
        program: Program::Exec(vec!["httpd".into(), "-f".into()]),
        user: user.into(),
        group: Some(group.into()),
        supplementary_gids: vec![],
        working_directory: "/srv".into(),
        environment: vec![],
        capabilities: vec![],
        no_new_privileges: false,
        seccomp: Seccomp::Default,
        pre_start: None,
        post_stop: None,
        terminal: None,
    }
}

fn facts() -> Facts {
    Facts {
        users: parse_passwd(
            "root:x:0:0::/root:/bin/bash\nweb:x:80:81::/srv/web:\n1000:x:7:7::/seven:/bin/sh\nalso:x:80:9::/a:/b\n",
        ),
        groups: parse_group("wheel:x:0:root\nwww:x:81:\nlogs:x:90:web,root\n"),
        owners: [("/bin/ping".to_owned(), (5, 6))].into(),
        has_login: false,
    }
}

/// What the app executes.
fn resolve(app: &AppSpec, facts: &Facts) -> Result<ExecSpec> {
    match super::resolve(app, facts)? {
        Work::Execute(spec) => Ok(*spec),
        Work::Transfer(_) => panic!("nothing is executed"),
    }
}

#[test]
fn users_and_groups_by_name_number_and_path() {
    let table = [
        ("web", "www", Ok((80, 81))),
        ("80", "81", Ok((80, 81))),
        ("1000", "0", Ok((7, 0))), // a name that is all digits comes before the number (aci.md)
        ("1001", "1002", Ok((1001, 1002))),
        ("/bin/ping", "/bin/ping", Ok((5, 6))),
        ("nobody", "0", Err("the image knows no user \"nobody\"")),
        ("0", "staff", Err("the image knows no group \"staff\"")),
        ("-1", "0", Err("the image knows no user \"-1\"")),
        ("+5", "0", Err("the image knows no user \"+5\"")),
        ("4294967295", "0", Err("the image knows no user \"4294967295\"")),
        ("4294967296", "0", Err("the image knows no user \"4294967296\"")),
    ];
    for (user, group, expected) in table {
        let got = resolve(&app(user, group), &facts()).map(|s| (s.uid, s.gid)).map_err(|e| e.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{user}:{group}");
    }
}

#[test]
fn supplementary_groups_follow_the_group() {
    let mut app = app("web", "www");
    app.supplementary_gids = vec![90, 81, 12];
    assert_eq!(resolve(&app, &facts()).unwrap().groups, [81, 90, 12]);
}

#[test]
fn environment_has_the_users_values_and_the_apps_come_last() {
    let mut app = app("web", "www");
    app.environment =
        vec![("PATH".into(), "/opt".into()), ("A".into(), "b=c".into()), ("container".into(), "x".into())];
    let spec = resolve(&app, &facts()).unwrap();
    let expected = [
        "PATH=/opt",
        "USER=web",
        "LOGNAME=web",
        "HOME=/srv/web",
        "SHELL=/bin/sh",
        "A=b=c",
        "container=jetpack",
        "AC_APP_NAME=web",
    ];
    assert_eq!(spec.environment, expected);
    assert_eq!(spec.candidates, ["/opt/httpd"]);
}

#[test]
fn a_user_without_an_entry_still_has_an_environment() {
    let spec = resolve(&app("1234", "1234"), &facts()).unwrap();
    for variable in ["USER=1234", "LOGNAME=1234", "HOME=/", "SHELL=/bin/sh"] {
        assert!(spec.environment.iter().any(|v| v == variable), "{variable} in {:?}", spec.environment);
    }
}

#[test]
fn term_is_there_only_on_a_terminal() {
    let mut app = app("0", "0");
    assert!(!resolve(&app, &facts()).unwrap().environment.iter().any(|v| v.starts_with("TERM=")));
    app.terminal = Some("xterm".into());
    assert!(resolve(&app, &facts()).unwrap().environment.contains(&"TERM=xterm".to_owned()));
}

#[test]
fn the_search_is_execvps() {
    assert_eq!(candidates("./x", "/bin"), ["./x"]);
    assert_eq!(candidates("x", "/bin/::/sbin"), ["/bin/x", "./x", "/sbin/x"]);
    assert_eq!(candidates("x", PATH).len(), 6);
}

#[test]
fn without_a_group_it_is_the_users() {
    let own = |user: &str| AppSpec { group: None, supplementary_gids: vec![12], ..app(user, "") };
    let table = [
        ("web", Ok(vec![81, 90])),
        ("root", Ok(vec![0, 90])),
        ("0", Ok(vec![0, 90])),
        ("80", Ok(vec![81, 90])),
        ("4242", Err("the image does not say in which group user 4242 is")),
        ("/bin/ping", Err("the image does not say in which group user 5 is")),
        ("nobody", Err("the image knows no user \"nobody\"")),
    ];
    for (user, expected) in table {
        let got = resolve(&own(user), &facts()).map(|s| s.groups).map_err(|e| e.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{user}");
    }
}

#[test]
fn an_empty_program_is_an_error() {
    for arguments in [vec![], vec![String::new()]] {
        let app = AppSpec { program: Program::Exec(arguments), ..app("0", "0") };
        assert_eq!(resolve(&app, &facts()).unwrap_err().to_string(), "there is nothing to execute");
    }
}

#[test]
fn a_console_is_login_or_the_login_shell() {
    let console = |user: &str| AppSpec { program: Program::Console(user.into()), ..app("80", "80") };
    let spec = resolve(&console("root"), &facts()).unwrap();
    assert_eq!(spec.candidates, ["/bin/bash", "/bin/sh"]);
    assert_eq!((spec.arguments[0].as_str(), spec.uid), ("-bash", 0));
    assert_eq!(spec.directories, ["/root", "/"]);
    assert_eq!(spec.groups, [0, 90]);

    let spec = resolve(&console("web"), &facts()).unwrap();
    assert_eq!((spec.candidates, spec.uid, spec.groups), (vec!["/bin/sh".into()], 80, vec![81, 90]));

    let with_login = Facts { has_login: true, ..facts() };
    let spec = resolve(&console("web"), &with_login).unwrap();
    assert_eq!(spec.candidates, ["/usr/bin/login"]);
    assert!(spec.login);
    assert_eq!((spec.arguments, spec.uid), (["login", "-p", "-f", "web"].map(str::to_owned).to_vec(), 0));

    let spec = resolve(&console("81"), &facts()).map(|spec| spec.uid).map_err(|e| e.to_string());
    assert_eq!(spec, Err("the image knows no user \"81\"".to_owned()));
    assert_eq!(resolve(&console("80"), &facts()).unwrap().uid, 80);
    assert!(resolve(&console("nobody"), &facts()).is_err());
    // An image without passwd still has a root.
    let spec = resolve(&console("root"), &Facts::default()).unwrap();
    assert_eq!((spec.candidates, spec.uid), (vec!["/bin/sh".into()], 0));
}

#[test]
fn handlers_run_as_root() {
    let mut app = app("web", "www");
    app.supplementary_gids = vec![90];
    let spec = resolve_handler(&app, &facts(), &["/bin/setup".into()]).unwrap();
    assert_eq!((spec.uid, spec.gid, spec.groups), (0, 0, vec![0]));
    assert!(spec.environment.contains(&"HOME=/root".to_owned()));
    assert_eq!(spec.directories, ["/srv"]);
}
