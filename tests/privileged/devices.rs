//! /dev of a pod, and that a pod gets no device anywhere else, though its app may make nodes (CAP_MKNOD is a default).

use super::images::{inside, isolated, shell, store_of};
use crate::support::command::or_skip;
use crate::support::pty::Terminal;

/// Everything in /dev: links with their targets, the rest with type, major:minor (hexadecimal) and mode.
const DEV: &str = "\
console character special file 1:3 666
fd -> /proc/self/fd
full character special file 1:7 666
mqueue directory 0:0 1777
null character special file 1:3 666
ptmx -> pts/ptmx
pts directory 0:0 755
random character special file 1:8 666
shm directory 0:0 1777
stderr -> /proc/self/fd/2
stdin -> /proc/self/fd/0
stdout -> /proc/self/fd/1
tty character special file 5:0 666
urandom character special file 1:9 666
zero character special file 1:5 666
null works
zero works
urandom works
random works
full works
no terminal
ptmx works
console swallows
shm works
";

#[test]
fn dev_holds_what_appc_asks_for_and_devices_are_nowhere_else() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    assert_eq!(inside(&jetpack, include_str!("../inside/devices.sh")), DEV);
}

#[test]
fn without_the_capability_no_node_can_be_made() {
    let app = isolated("0", "os/linux/capabilities-remove-set", r#"{ "set": ["CAP_MKNOD"] }"#);
    let jetpack = or_skip!(store_of(&app));
    assert_eq!(inside(&jetpack, "mknod /x c 1 3 2>/dev/null; echo $?"), "1\n");
}

#[test]
fn the_console_is_the_terminal_where_there_is_one() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let script =
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all three; stat -c '%t:%T %u %a' /dev/console $(tty);
        echo written to the console >/dev/console; echo written to the tty >/dev/tty";
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", "-t", "test", "--", script]));
    terminal.expect("/dev/pts/0\r\nall three\r\n88:0 1000 620\r\n88:0 1000 620\r\n");
    terminal.expect("written to the console\r\nwritten to the tty\r\n");
    assert_eq!(terminal.end().0, 0);
}
