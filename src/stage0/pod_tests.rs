//! Pods that move while somebody looks.

use super::*;
use crate::config::Config;
use crate::sys::testing::Scratch;

/// A store of plain directories.
fn store(scratch: &Scratch) -> Store {
    Store::init(&config(&scratch.path().join("store"))).unwrap().0
}

/// The same store, for another thread.
fn reopen(root: &Path) -> Store {
    Store::open(&config(root)).unwrap()
}

fn config(root: &Path) -> Config {
    let options = [format!("root.path={}", root.display()), "storage=dir".to_owned()];
    Config::parse("linux", Path::new("jetpack.conf"), b"", &options).unwrap()
}

/// A pod in one of the places, without apps.
fn pod_in(store: &Store, place: &str) -> Uuid {
    let id = Uuid::new_v4();
    let directory = place_of(store, place, id);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(LOCK), "").unwrap();
    id
}

#[test]
fn pods_that_move_are_always_seen() {
    let scratch = Scratch::new();
    let store = store(&scratch);
    let ids: Vec<Uuid> = (0..100).map(|_| pod_in(&store, PREPARING)).collect();
    let (root, moving) = (&store.root().join("state"), ids.clone());
    std::thread::scope(|scope| {
        let mover = scope.spawn(move || {
            for places in [[PREPARING, PREPARED], [PREPARED, RUN], [RUN, DELETING]] {
                for id in &moving {
                    let [from, to] = places.map(|place| root.join(place).join(id.to_string()));
                    fs::rename(from, to).unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
            }
        });
        while !mover.is_finished() {
            assert_eq!(store.list_pods().unwrap().len(), ids.len());
            assert!(ids.iter().all(|id| store.pod(*id).unwrap().is_some()));
        }
    });
}

#[test]
fn a_pod_that_has_moved_on_is_locked_where_it_is() {
    let scratch = Scratch::new();
    let store = store(&scratch);
    let id = pod_in(&store, PREPARED);
    let seen = store.find_pod(&id.to_string()).unwrap();
    let mut winner = store.lock_pod(&seen).unwrap();
    let error = |pod: &Pod| store.lock_pod(pod).unwrap_err().one_line();
    assert_eq!(error(&seen), format!("pod {id} is in use by another command"));
    store.begin_run(&mut winner).unwrap();
    assert_eq!(error(&seen), format!("pod {id} is running"));
    drop(winner);
    let locked = store.lock_pod(&seen).unwrap();
    assert_eq!((locked.pod.state, &locked.pod.directory), (State::Exited, &place_of(&store, RUN, id)));
    store.destroy_pod(locked).unwrap();
    assert_eq!(error(&seen), format!("pod {id} has gone"));
}

#[test]
fn what_is_left_of_a_pod_is_removed_without_being_added_to() {
    let scratch = Scratch::new();
    let store = store(&scratch);
    for place in [PREPARING, DELETING] {
        let id = pod_in(&store, place);
        fs::remove_file(place_of(&store, place, id).join(LOCK)).unwrap();
        let seen = store.find_pod(&id.to_string()).unwrap();
        assert_eq!(seen.state, State::Deleting, "{place}");
        let first = store.lock_pod(&seen).unwrap();
        assert_eq!(fs::read_dir(&first.pod.directory).unwrap().count(), 0, "{place}");
        assert_eq!(store.lock_pod(&seen).unwrap_err().one_line(), format!("pod {id} is being removed"));
        store.destroy_pod(first).unwrap();
        assert!(store.list_pods().unwrap().is_empty(), "{place}");
    }
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn two_who_destroy_a_pod_do_not_trip_over_each_other() {
    let scratch = Scratch::new();
    let store = store(&scratch);
    let root = scratch.path().join("store");
    for _ in 0..200 {
        let id = pod_in(&store, RUN);
        let destroy = || {
            let store = reopen(&root);
            match store.find_pod(&id.to_string()).and_then(|pod| store.lock_pod(&pod)) {
                Ok(locked) => store.destroy_pod(locked).map(|()| 1),
                Err(_) => Ok(0),
            }
        };
        let done = std::thread::scope(|scope| {
            [scope.spawn(destroy), scope.spawn(destroy)].map(|thread| thread.join().unwrap())
        });
        let done = done.into_iter().collect::<Result<Vec<i32>>>().map_err(|e| e.one_line());
        assert_eq!(done.map(|all| all.iter().sum()), Ok(1));
    }
}
