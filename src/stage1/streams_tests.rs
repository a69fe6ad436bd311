use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use super::*;

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

/// Moves what can be moved at once.
fn turn(streams: &mut Streams) {
    for _ in 0..1000 {
        let ready = wait_for(streams.interests(), PollTimeout::ZERO).unwrap();
        if !ready.contains(&true) {
            return;
        }
        streams.turn(&ready);
    }
}

#[test]
fn pipes_sockets_and_the_null_device_are_given_and_nothing_else() {
    let (pipe, _write) = sys::process::pipe().unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let ([input, output, error], streams) = connect([pipe.as_fd(), socket.as_fd(), null().as_fd()]).unwrap();
    for (given, own) in [(input, pipe.as_fd()), (output, socket.as_fd()), (error, null().as_fd())] {
        assert!(is_same(given.as_fd(), own).unwrap());
    }
    assert!(streams.flows.is_empty());
    let scratch = sys::testing::Scratch::new();
    let file = File::create(scratch.path().join("file")).unwrap();
    let zero = File::open("/dev/zero").unwrap();
    let (given, streams) = connect([zero.as_fd(), file.as_fd(), zero.as_fd()]).unwrap();
    assert_eq!(streams.flows.len(), 3);
    assert!(given.iter().all(|fd| found(fd.as_fd()).unwrap().file_type().is_fifo()));
    let root = File::open("/").unwrap();
    for place in 0..3 {
        let mut all = [null(), null(), null()];
        all[place] = root.try_clone().unwrap();
        let error = connect([all[0].as_fd(), all[1].as_fd(), all[2].as_fd()]).err().expect("refused");
        assert!(error.to_string().contains(NAMES[place]), "{error}");
    }
}

#[test]
fn a_file_passes_both_ways_and_what_was_not_read_is_given_back() {
    let scratch = sys::testing::Scratch::new();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = scratch.path().join("in");
    std::fs::write(&path, &bytes).unwrap();
    let mut source = File::open(&path).unwrap();
    source.seek(SeekFrom::Start(8)).unwrap();
    let out = File::options().append(true).create(true).open(scratch.path().join("out")).unwrap();
    let ([input, output, error], mut streams) = connect([source.as_fd(), out.as_fd(), out.as_fd()]).unwrap();
    let (mut input, mut output, mut error) = (File::from(input), File::from(output), File::from(error));
    let mut some = vec![0; 100_000];
    let mut read = 0;
    while read < some.len() {
        turn(&mut streams);
        let most = some.len().min(read + 1000);
        read += input.read(&mut some[read..most]).unwrap();
    }
    assert!(some == bytes[8..100_008]);
    output.write_all(b"one ").unwrap();
    error.write_all(b"two ").unwrap();
    turn(&mut streams);
    output.write_all(b"three").unwrap();
    // The pipe has a writer to the last, and is not waited for.
    assert!(streams.finish(&Signals::catch(&[]).unwrap()).is_none());
    assert_eq!(source.stream_position().unwrap(), 100_008);
    assert_eq!(std::fs::read(scratch.path().join("out")).unwrap(), b"one two three");
}

#[test]
fn a_pod_cannot_move_a_file_beyond_where_it_was() {
    let scratch = sys::testing::Scratch::new();
    let path = scratch.path().join("in");
    std::fs::write(&path, "0123456789").unwrap();
    let mut source = File::open(&path).unwrap();
    source.seek(SeekFrom::Start(6)).unwrap();
    let ([input, ..], mut streams) = connect([source.as_fd(), null().as_fd(), null().as_fd()]).unwrap();
    turn(&mut streams);
    assert!(streams.flows.is_empty());
    // The program writes into its own input, and keeps it open, where it finds a way to.
    let way = format!("/proc/self/fd/{}", input.as_raw_fd());
    let opened = File::options().write(true).open(way).ok();
    opened.iter().for_each(|mut opened| opened.write_all(&[0; 1000]).unwrap());
    assert!(streams.finish(&Signals::catch(&[]).unwrap()).is_none());
    assert_eq!(source.stream_position().unwrap(), 6);
    drop((input, opened));
}

#[test]
fn each_side_may_have_enough() {
    let zero = File::open("/dev/zero").unwrap();
    let full = File::options().write(true).open("/dev/full");
    let ([input, ..], mut streams) = connect([zero.as_fd(), null().as_fd(), null().as_fd()]).unwrap();
    turn(&mut streams);
    assert_eq!(streams.flows.len(), 1);
    drop(input);
    turn(&mut streams);
    assert!(streams.flows.is_empty() && streams.lost.is_none());
    let Ok(full) = full else { return };
    let ([_, output, _], mut streams) = connect([null().as_fd(), full.as_fd(), null().as_fd()]).unwrap();
    File::from(output.try_clone().unwrap()).write_all(b"x").unwrap();
    turn(&mut streams);
    assert!(streams.flows.is_empty());
    assert_eq!(nix::unistd::write(&output, b"x"), Err(Errno::EPIPE));
    let lost = streams.finish(&Signals::catch(&[]).unwrap()).expect("something was lost");
    assert_eq!(lost.one_line(), "cannot write standard output: No space left on device");
}
