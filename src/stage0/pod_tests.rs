//! Pods that move while somebody looks.

use super::*;
use crate::config::Config;
use crate::sys::testing::Scratch;

/// A store of plain directories.
fn store(scratch: &Scratch) -> Store {
    let config = scratch.path().join("jetpack.conf");
    fs::write(&config, "").unwrap();
    let root = format!("root.path={}", scratch.path().join("store").display());
    let config = Config::load(Some(&config), &[root, "storage=dir".to_owned()]).unwrap();
    Store::init(&config).unwrap().0
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
