//! One suite for every backend: what the trait promises.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::testing::Pool;
use super::*;
use crate::error::Context;
use crate::sys::testing::{Scratch, skipped_without_root};

/// A store of one backend.
struct Place {
    storage: Box<dyn Storage>,
    _pool: Option<Pool>,
    scratch: Scratch,
}

impl Place {
    fn new(storage: Box<dyn Storage>, scratch: Scratch) -> Place {
        for directory in Layout::new(&scratch.rootfs()).directories() {
            fs::create_dir_all(directory).unwrap();
        }
        Place { storage, _pool: None, scratch }
    }

    fn root(&self) -> PathBuf {
        self.scratch.rootfs()
    }

    /// Everything below the store's directories.
    fn contents(&self) -> Vec<String> {
        let mut found = Vec::new();
        for directory in Layout::new(&self.root()).directories() {
            let entries = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path());
            found.extend(entries.map(|path| path.strip_prefix(self.root()).unwrap().display().to_string()));
        }
        // What is in a dataset is not in its mount point.
        if self.storage.name() == "zfs" {
            found.retain(|path| !path.starts_with("layers/new."));
        }
        found.sort();
        found
    }

    /// Makes a layer of a few files.
    fn layer(&self, name: &str, motd: &str) {
        let staging = self.storage.begin_layer().unwrap();
        let tree = staging.tree();
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o751)).unwrap();
        fs::create_dir(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/motd"), motd).unwrap();
        fs::set_permissions(tree.join("etc/motd"), fs::Permissions::from_mode(0o604)).unwrap();
        symlink("etc/motd", tree.join("link")).unwrap();
        self.storage.commit_layer(staging, name).unwrap();
    }
}

/// Runs a test on every backend. None of them needs root for files of one's own; the overlay is not mounted here.
#[expect(clippy::print_stdout, reason = "says which backend a failed test had")]
fn on_each(test: impl Fn(&Place)) {
    type Make = fn(&Path) -> Box<dyn Storage>;
    let backends: &[Make] = &[
        |root| Box::new(Overlay::new(root)),
        |root| Box::new(Dir::new(root)),
        #[cfg(feature = "testing")]
        |root| Box::new(Dir::fake(root)),
    ];
    let run = |place: &Place| {
        println!("backend: {}", place.storage.name());
        test(place);
        place.scratch.assert_outside_is_untouched(place.storage.name());
    };
    for make in backends {
        let scratch = Scratch::new();
        run(&Place::new(make(&scratch.rootfs()), scratch));
    }
    if let Some(pool) = Pool::new() {
        let scratch = Scratch::new();
        run(&Place { storage: Box::new(pool.storage(&scratch.rootfs())), _pool: Some(pool), scratch });
    }
}

/// Says that a test needs overlays, where there are none, and whether it has to be left out.
#[expect(clippy::print_stdout, reason = "`make check` shows and counts such lines")]
fn skipped_without_overlays(storage: &dyn Storage) -> bool {
    let refused = storage.probe().err();
    if let Some(error) = &refused {
        println!("skipped: needs root and overlayfs: {}", error.one_line());
    }
    refused.is_some()
}

/// The directory of a root where the files of the layer can be seen without a mount, if there is one.
fn shown(root: &RootFs) -> Option<&Path> {
    match root {
        RootFs::Directory { path } => Some(path),
        RootFs::Layers { .. } | RootFs::Overlay { .. } => None,
    }
}

#[test]
fn a_layer_is_seen_when_it_is_committed_and_not_before() {
    on_each(|place| {
        let staging = place.storage.begin_layer().unwrap();
        assert_eq!(fs::read_dir(staging.tree()).unwrap().count(), 0);
        fs::write(staging.tree().join("x"), "x").unwrap();
        assert!(!place.storage.layer("one").exists());
        place.storage.commit_layer(staging, "one").unwrap();
        assert_eq!(fs::read_to_string(place.storage.layer("one").join("x")).unwrap(), "x");
        assert_eq!(place.contents(), ["layers/one"]);
    });
}

#[test]
fn a_layer_that_is_not_committed_vanishes() {
    on_each(|place| {
        let staging = place.storage.begin_layer().unwrap();
        fs::write(staging.tree().join("x"), "x").unwrap();
        fs::set_permissions(staging.tree(), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(place.contents().len(), 1);
        drop(staging);
        assert_eq!(place.contents(), [""; 0]);
    });
}

#[test]
fn a_layer_that_is_there_stays_as_it_is() {
    on_each(|place| {
        place.layer("one", "first");
        place.layer("one", "second");
        assert_eq!(fs::read_to_string(place.storage.layer("one").join("etc/motd")).unwrap(), "first");
        assert_eq!(place.contents(), ["layers/one"]);
    });
}

#[test]
fn a_layer_is_removed_once_and_again() {
    on_each(|place| {
        place.layer("one", "x");
        place.layer("two", "x");
        let mut names = place.storage.layers().unwrap();
        names.sort();
        assert_eq!(names, ["one", "two"]);
        for _ in 0..2 {
            place.storage.remove_layer("one").unwrap();
            assert_eq!(place.contents(), ["layers/two"]);
        }
    });
}

#[test]
fn what_a_killed_command_left_is_swept_and_what_is_in_use_is_not() {
    on_each(|place| {
        let used = place.storage.begin_layer().unwrap();
        let rubbish = Layout::new(&place.root()).staging().join("rubbish");
        fs::create_dir_all(rubbish.join("tree/deep")).unwrap();
        let next = place.storage.begin_layer().unwrap();
        assert!(!rubbish.exists() && used.tree().is_dir() && next.tree().is_dir());
        assert_ne!(used.path(), next.path());
    });
}

#[test]
fn who_sweeps_takes_nothing_from_those_who_begin() {
    on_each(|place| {
        let layout = Layout::new(&place.root());
        std::thread::scope(|scope| {
            let sweeper = scope.spawn(|| {
                for _ in 0..2000 {
                    sweep(&layout).unwrap();
                }
            });
            while !sweeper.is_finished() {
                let staging = Staging::create(&layout).unwrap();
                fs::write(staging.path().join("x"), "x").unwrap();
            }
        });
    });
}

#[test]
fn a_root_is_made_of_its_layer_and_is_the_pods_own() {
    on_each(|place| {
        place.layer("one", "hello");
        let layers = ["one".to_owned()];
        place.storage.create_pod("pod").unwrap();
        place.storage.create_root("pod", "web", &layers, None).unwrap();
        let root = place.storage.root("pod", "web", &layers);
        assert!(root.path().starts_with(place.root().join("pods/pod")), "{root:?}");
        match &root {
            RootFs::Directory { path } => {
                assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o751);
                assert_eq!(fs::metadata(path.join("etc/motd")).unwrap().mode() & 0o7777, 0o604);
                assert_eq!(fs::read_link(path.join("link")).unwrap(), Path::new("etc/motd"));
                fs::write(path.join("etc/motd"), "changed").unwrap();
            }
            RootFs::Layers { .. } => panic!("nobody could write to {root:?}"),
            RootFs::Overlay { lower, upper, work, mountpoint } => {
                assert_eq!(*lower, [place.storage.layer("one")]);
                // overlayfs shows the attributes of the upper directory at the root.
                assert_eq!(fs::metadata(upper).unwrap().mode() & 0o7777, 0o751);
                for empty in [upper, work, mountpoint] {
                    assert_eq!(fs::read_dir(empty).unwrap().count(), 0, "{empty:?}");
                }
            }
        }
        assert_eq!(fs::read_to_string(place.storage.layer("one").join("etc/motd")).unwrap(), "hello");
        // The path does not depend on whether the layers are known.
        assert_eq!(place.storage.root("pod", "web", &layers), root);
    });
}

#[test]
fn apps_and_pods_are_apart_and_go_with_their_pod() {
    on_each(|place| {
        place.layer("one", "hello");
        let layers = ["one".to_owned()];
        ["a", "b"].iter().for_each(|pod| place.storage.create_pod(pod).unwrap());
        for (pod, app) in [("a", "web"), ("a", "db"), ("b", "web")] {
            place.storage.create_root(pod, app, &layers, None).unwrap();
            if let Some(path) = shown(&place.storage.root(pod, app, &layers)) {
                fs::write(path.join("own"), format!("{pod} {app}")).unwrap();
            }
        }
        if let Some(path) = shown(&place.storage.root("a", "db", &layers)) {
            assert_eq!(fs::read_to_string(path.join("own")).unwrap(), "a db");
        }
        for _ in 0..2 {
            place.storage.remove_pod("a").unwrap();
            assert_eq!(place.contents(), ["layers/one", "pods/b"]);
        }
        place.storage.remove_pod("b").unwrap();
        assert_eq!(place.contents(), ["layers/one"]);
    });
}

#[test]
fn a_volume_is_empty_and_goes_with_its_pod() {
    on_each(|place| {
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let volume = EmptyVolume { name: "data", mode: 0o1770, uid: own.0, gid: own.1 };
        place.storage.create_pod("pod").unwrap();
        place.storage.create_volume("pod", &volume).unwrap();
        let at = place.storage.volume("pod", "data");
        let found = fs::metadata(&at).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o1770, own.0, own.1));
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
        fs::write(at.join("x"), "").unwrap();
        // An app may be called as a volume is.
        place.layer("one", "hello");
        place.storage.create_root("pod", "data", &["one".to_owned()], None).unwrap();
        assert!(at.join("x").exists());
        place.storage.remove_pod("pod").unwrap();
        assert_eq!(place.contents(), ["layers/one"]);
    });
}

#[test]
fn a_root_of_a_layer_that_is_missing_is_an_error_that_can_be_undone() {
    on_each(|place| {
        for layers in [&["none".to_owned()][..], &[]] {
            place.storage.create_pod("pod").unwrap();
            place.storage.create_root("pod", "web", layers, None).unwrap_err();
            place.storage.remove_pod("pod").unwrap();
            assert_eq!(place.contents(), [""; 0]);
        }
    });
}

#[test]
fn a_layer_of_which_there_are_clones_is_not_removed() {
    on_each(|place| {
        if place.storage.name() != "zfs" {
            return;
        }
        place.layer("one", "hello");
        place.storage.create_pod("pod").unwrap();
        place.storage.create_root("pod", "web", &["one".to_owned()], None).unwrap();
        let error = place.storage.remove_layer("one").unwrap_err().one_line();
        assert!(
            error.contains("/images/one: there are clones of it: ") && error.ends_with("/pods/pod/app.web"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(place.storage.layer("one").join("etc/motd")).unwrap(), "hello");
        place.storage.remove_pod("pod").unwrap();
        place.storage.remove_layer("one").unwrap();
        assert_eq!(place.contents(), [""; 0]);
    });
}

#[test]
fn the_lower_directories_of_an_overlay_are_in_the_order_of_the_kernel() {
    let overlay = Overlay::new(Path::new("/store"));
    let root = overlay.root("pod", "web", &["bottom".to_owned(), "top".to_owned()]);
    let RootFs::Overlay { lower, .. } = root else { panic!("{root:?}") };
    assert_eq!(lower, [Path::new("/store/layers/top"), Path::new("/store/layers/bottom")]);
}

#[test]
fn trees_are_looked_at_together_and_answers_come_back() {
    on_each(|place| {
        if place.storage.name() == "overlay" && skipped_without_overlays(&*place.storage) {
            return;
        }
        // A pod's own directory is mounted on itself.
        if place.storage.name() == "dir" && skipped_without_root() {
            return;
        }
        place.layer("one", "hello");
        let layers = ["one".to_owned()];
        place.storage.create_pod("pod").unwrap();
        place.storage.create_root("pod", "web", &layers, None).unwrap();
        let root = place.storage.root("pod", "web", &layers);
        let motd = |tree: &Path| fs::read_to_string(tree.join("etc/motd")).context(|| "cannot read");
        let trees = [Tree::Layers(layers.to_vec()), Tree::Root(root)];
        let write = |paths: &[PathBuf]| {
            fs::write(paths[1].join("etc/motd"), "bye").context(|| "cannot write")?;
            Ok((motd(&paths[0])?, motd(&paths[1])?))
        };
        let before = place.contents();
        assert_eq!(view(&*place.storage, &trees, write).unwrap(), ("hello".to_owned(), "bye".to_owned()));
        let error = view(&*place.storage, &trees, |paths| motd(&paths[0].join("none"))).unwrap_err();
        assert_eq!(error.one_line(), "cannot read: No such file or directory (os error 2)");
        assert_eq!(place.contents(), before);
    });
}

#[test]
fn a_stack_of_five_hundred_layers_is_mounted() {
    let scratch = Scratch::new();
    let storage = Overlay::new(&scratch.rootfs());
    Layout::new(&scratch.rootfs()).directories().iter().for_each(|directory| fs::create_dir(directory).unwrap());
    if skipped_without_overlays(&storage) {
        return;
    }
    // As long as the names of images.
    let names: Vec<String> = (0..500).map(|n| format!("sha512-{n:0128},:\\")).collect();
    for (n, name) in names.iter().enumerate() {
        let staging = storage.begin_layer().unwrap();
        fs::write(staging.tree().join(n.to_string()), "").unwrap();
        fs::write(staging.tree().join("last"), n.to_string()).unwrap();
        fs::rename(staging.tree(), storage.layer(name)).unwrap();
    }
    let look = |paths: &[PathBuf]| {
        let files = fs::read_dir(&paths[0]).context(|| "cannot list")?.count();
        Ok((files, fs::read_to_string(paths[0].join("last")).context(|| "cannot read")?))
    };
    assert_eq!(view(&storage, &[Tree::Layers(names.clone())], look).unwrap(), (501, "499".to_owned()));
    storage.create_root("pod", "web", &names, None).unwrap();
    let root = Tree::Root(storage.root("pod", "web", &names));
    assert_eq!(view(&storage, &[root, Tree::Layers(names[..2].to_vec())], look).unwrap(), (501, "499".to_owned()));
}
