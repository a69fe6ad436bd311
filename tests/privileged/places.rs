//! So many commands run in a pod at a time, and who has gone takes no place.

use std::io::{BufRead, BufReader};
use std::process::Child;

use super::exec::{WAIT, end, exec, prepare};
use super::images::{shell, store_of};
use super::signals::Running;
use crate::support::command::or_skip;

/// As many as run at a time.
const PLACES: usize = 128;

#[test]
fn commands_whose_callers_have_gone_lock_nobody_out() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "trap '' HUP; echo begun; exec sleep 987";
    let mut commands: Vec<Child> = (0..PLACES).map(|_| jetpack.spawn(["exec", &pod, "sh", "-c", script])).collect();
    for command in &mut commands {
        let mut line = String::new();
        BufReader::new(command.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "begun\n");
    }
    // One more is told so, and the pod can still be looked at.
    let said = exec(&jetpack, &pod, &[], "true").failure(125);
    assert!(said.contains("128 other commands run in the pod\nhelp: "), "{said}");
    let listed = jetpack.run(["-q", "ps", &pod]).success().stdout;
    assert!(listed.lines().count() > PLACES, "{listed}");
    for command in &mut commands {
        command.kill().expect("it runs");
        command.wait().expect("it ends");
    }
    // They go on, and keep nobody out.
    let count = || exec(&jetpack, &pod, &[], "ps | grep -c '[s]leep 987'; :").success().stdout;
    crate::support::bounded::until("a command can begin", || exec(&jetpack, &pod, &[], "true").code == 0);
    assert_eq!(count().trim(), PLACES.to_string());
    jetpack.run(["killall", &pod, "sleep"]).success();
    crate::support::bounded::until("they have ended", || count().trim() == "0");
    end(running);
}
