//! Images made by chance, rendered by every backend and by a model of the rules.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::diff;
use super::super::import::Imported;
use super::super::store::Store;
use super::super::unpack::testing::{Item, entries};
use super::*;
use crate::config::Config;
use crate::stage0::compression::Compression;
use crate::stage0::image::ARCHIVE;
use crate::storage::testing::Pool;
use crate::sys::testing::Scratch;

/// Numbers by chance (xorshift*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// What a path is; a directory without mode and time is one of which the archive says nothing.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Directory(Option<(u32, i64)>),
    File(String),
    Link(String),
}

/// What is at which path; the root's is empty.
type Files = BTreeMap<String, Entry>;

/// An image as a model: its own files, its dependencies and its whitelist.
struct Model {
    own: Files,
    dependencies: Vec<usize>,
    whitelist: Vec<String>,
    rendered: Files,
}

/// A tree of few names, so that images meet.
fn grow(random: &mut Random, path: &str, depth: usize, tag: &str, files: &mut Files) {
    let described = random.below(3) > 0;
    let (mode, time) = (0o700 + random.below(8) as u32, 1_000_000 + random.below(1000) as i64);
    files.insert(path.to_owned(), Entry::Directory(described.then_some((mode, time))));
    for name in ["a", "b", "c"] {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match random.below(6) {
            0 => drop(files.insert(path, Entry::File(tag.to_owned()))),
            1 => drop(files.insert(path, Entry::Link(["a", "b", "/c"][random.below(3)].to_owned()))),
            2 | 3 if depth < 3 => grow(random, &path, depth + 1, tag, files),
            _ => {}
        }
    }
}

/// The rules: lays `upper` on `files`. The properties that an archive does not tell are those that are there.
fn lay(files: &mut Files, upper: &Files) {
    for (path, entry) in upper {
        let both = matches!((files.get(path), entry), (Some(Entry::Directory(_)), Entry::Directory(_)));
        if !both {
            let below = format!("{path}/");
            files.retain(|other, _| other != path && !other.starts_with(&below));
        }
        match entry {
            Entry::Directory(None) if both => {}
            Entry::Directory(None) => drop(files.insert(path.clone(), Entry::Directory(Some((0o755, 0))))),
            _ => drop(files.insert(path.clone(), entry.clone())),
        }
    }
}

impl Model {
    fn make(random: &mut Random, (number, most): (usize, usize), before: &[Model]) -> Model {
        let mut own = Files::new();
        grow(random, "", 0, &number.to_string(), &mut own);
        // An archive says nothing of a directory only where it has something else in it.
        let empty = |path: &str| !own.keys().any(|other| other.starts_with(&format!("{path}/")));
        let unsaid: Vec<String> = own.keys().filter(|path| empty(path)).cloned().collect();
        for path in unsaid {
            own.entry(path).and_modify(|entry| {
                if *entry == Entry::Directory(None) {
                    *entry = Entry::Directory(Some((0o750, 5)));
                }
            });
        }
        let count = if before.is_empty() { 0 } else { random.below(most + 1) };
        let dependencies: Vec<usize> = (0..count).map(|_| random.below(before.len())).collect();
        let mut rendered = Files::new();
        dependencies.iter().for_each(|n| lay(&mut rendered, &before[*n].rendered));
        lay(&mut rendered, &own);
        let mut whitelist = Vec::new();
        if random.below(3) == 0 {
            whitelist = rendered.keys().filter(|_| random.below(2) == 0).map(|path| format!("/{path}")).collect();
            whitelist.push("/none".to_owned());
            let way =
                |path: &str, listed: &String| listed[1..] == *path || listed[1..].starts_with(&format!("{path}/"));
            rendered.retain(|path, _| path.is_empty() || whitelist.iter().any(|listed| way(path, listed)));
        }
        Model { own, dependencies, whitelist, rendered }
    }

    fn archive(&self, number: usize, ids: &[ImageId]) -> Vec<u8> {
        let dependency = |n: &usize| serde_json::json!({ "imageName": format!("image{n}"), "imageID": ids[*n] });
        let manifest = serde_json::json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": format!("image{number}"),
            "dependencies": self.dependencies.iter().map(dependency).collect::<Vec<_>>(),
            "pathWhitelist": self.whitelist,
        });
        let item = |(path, entry): (&String, &Entry)| {
            let name = if path.is_empty() { "rootfs".to_owned() } else { format!("rootfs/{path}") };
            match entry {
                Entry::Directory(None) => None,
                Entry::Directory(Some((mode, time))) => {
                    Some(Item::directory(name).mode(*mode).with(|header| header.set_mtime(time.cast_unsigned())))
                }
                Entry::File(content) => Some(Item::file(name, content)),
                Entry::Link(target) => Some(Item::link(b'2', name, target)),
            }
        };
        let items =
            std::iter::once(Item::file("manifest", manifest.to_string())).chain(self.own.iter().filter_map(item));
        [entries(items.collect()), vec![0; 1024]].concat()
    }
}

/// What is in a directory, in the words of the model.
fn look(tree: &Path, path: &str, files: &mut Files) {
    let here = if path.is_empty() { tree.to_path_buf() } else { tree.join(path) };
    let found = fs::symlink_metadata(&here).unwrap();
    let entry = if found.is_dir() {
        for child in fs::read_dir(&here).unwrap() {
            let name = child.unwrap().file_name().into_string().unwrap();
            look(tree, &if path.is_empty() { name } else { format!("{path}/{name}") }, files);
        }
        Entry::Directory(Some((found.permissions().mode() & 0o7777, found.mtime())))
    } else if found.is_symlink() {
        Entry::Link(fs::read_link(&here).unwrap().display().to_string())
    } else {
        Entry::File(fs::read_to_string(&here).unwrap())
    };
    files.insert(path.to_owned(), entry);
}

fn store(scratch: &Scratch, storage: &str) -> Store {
    let root = format!("root.path={}", scratch.path().join("store").display());
    let options = [root, storage.to_owned()];
    let config = Config::parse("linux", Path::new("jetpack.conf"), b"", &options).unwrap();
    Store::init(&config).unwrap().0
}

fn import(store: &Store, archive: &[u8]) -> Imported {
    let staging = store.begin_image().unwrap();
    fs::write(staging.path().join(ARCHIVE), archive).unwrap();
    store.import_built(staging, "a test").unwrap()
}

/// Checks that a rendered image is what the model says.
fn check(store: &Store, image: &Imported, model: &Files, what: &str) {
    let text = view(store.storage(), &[Tree::Layers(image.image.record.layers.clone())], |paths| {
        let mut files = Files::new();
        look(&paths[0], "", &mut files);
        Ok(files.iter().map(|(path, entry)| format!("{path}: {entry:?}\n")).collect::<String>())
    })
    .unwrap();
    let expected: String = model.iter().map(|(path, entry)| format!("{path}: {entry:?}\n")).collect();
    assert!(text == expected, "{what}: {}\nis\n{text}but should be\n{expected}", image.image.record.layers.join(" "));
}

/// What came of images made by chance.
#[derive(Default)]
struct Chances {
    masks: usize,
    rendered: usize,
    /// The ids of their flat exports.
    flat: Vec<ImageId>,
}

/// How many images are made by chance, of which each may depend on those before it.
struct Graph {
    seeds: std::ops::RangeInclusive<u64>,
    images: usize,
    /// The most that one depends on.
    most: usize,
    /// Whether they are exported without their dependencies, and those rendered.
    flat: bool,
}

/// Many small ones.
const SMALL: Graph = Graph { seeds: 1..=6, images: 8, most: 3, flat: true };

/// One of a hundred.
const LARGE: Graph = Graph { seeds: 7..=7, images: 100, most: 5, flat: false };

/// Renders images made by chance.
fn render_by_chance(storage: &str, graph: &Graph) -> Chances {
    let mut chances = Chances::default();
    for seed in graph.seeds.clone() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let scratch = Scratch::new();
        // Destroyed before the directory that it is mounted in is removed.
        let pool = if storage == "zfs" { Pool::new() } else { None };
        let dataset = pool.as_ref().map(|pool| format!("root.zfs={}", pool.dataset()));
        let store = store(&scratch, &dataset.unwrap_or_else(|| format!("storage={storage}")));
        let (mut models, mut ids): (Vec<Model>, Vec<ImageId>) = (Vec::new(), Vec::new());
        for number in 0..graph.images {
            let model = Model::make(&mut random, (number, graph.most), &models);
            let imported = import(&store, &model.archive(number, &ids));
            let missing =
                imported.warnings.iter().any(|text| text == "1 path of the pathWhitelist is not in the image");
            assert_eq!(missing, !model.whitelist.is_empty(), "{:?}", imported.warnings);
            check(&store, &imported, &model.rendered, &format!("{storage}, seed {seed}, image {number}"));
            let last = imported.image.record.layers.last().unwrap();
            chances.masks += usize::from(last.starts_with(MASK));
            chances.rendered += usize::from(last.starts_with(RENDERED));
            if graph.flat {
                let what = format!("flat image {number} of {seed}");
                chances.flat.push(check_flat(&store, &imported, &model.rendered, &what));
            }
            ids.push(imported.image.id);
            models.push(model);
        }
        // With the images goes all that was made for them.
        ids.iter().rev().for_each(|id| drop(store.destroy_image(id.as_str()).unwrap()));
        assert_eq!(store.storage().layers().unwrap(), [""; 0]);
    }
    chances
}

/// Checks that a flat export has the same files and needs nothing; gives its id.
fn check_flat(store: &Store, image: &Imported, model: &Files, what: &str) -> ImageId {
    let staging = store.begin_image().unwrap();
    let archive = File::create(staging.path().join(ARCHIVE)).unwrap();
    let exported = store.export_flat(&image.image, Compression::None, archive).unwrap();
    let flat = store.import_built(staging, "a flat image").unwrap();
    assert_eq!(exported.id, flat.image.id);
    assert_eq!(flat.image.record.layers, [flat.image.id.to_string()]);
    assert_eq!((&flat.image.manifest.dependencies[..], &flat.image.manifest.path_whitelist[..]), (&[][..], &[][..]));
    check(store, &flat, model, what);
    if !flat.known {
        store.destroy_image(exported.id.as_str()).unwrap();
    }
    exported.id
}

#[test]
fn images_are_rendered_by_the_rules() {
    let copied = render_by_chance("dir", &SMALL);
    assert!(copied.masks == 0 && copied.rendered > 10, "{} {}", copied.masks, copied.rendered);
    if Pool::new().is_some() {
        // Each begins as a clone of its first dependency.
        let cloned = render_by_chance("zfs", &SMALL);
        assert_eq!((cloned.masks, cloned.rendered), (0, copied.rendered));
        assert_eq!(cloned.flat, copied.flat);
    }
    if skipped_without_overlays() {
        return;
    }
    let stacked = render_by_chance("overlay", &SMALL);
    assert!(stacked.masks > 5 && stacked.rendered > 2, "{} {}", stacked.masks, stacked.rendered);
    assert_eq!(stacked.flat, copied.flat);
}

#[test]
fn a_graph_of_a_hundred_images_is_rendered_by_the_rules() {
    let copied = render_by_chance("dir", &LARGE);
    assert!(copied.rendered > 60, "{}", copied.rendered);
    if !skipped_without_overlays() {
        let stacked = render_by_chance("overlay", &LARGE);
        assert!(stacked.masks > 10 && stacked.rendered > 10, "{} {}", stacked.masks, stacked.rendered);
    }
}

#[test]
fn to_lay_a_tree_on_another_is_to_copy_both() {
    if crate::sys::testing::skipped_without_root() {
        return;
    }
    for seed in 0..40 {
        let scratch = Scratch::new();
        let tree = |name: &str| {
            let path = scratch.rootfs().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let [lower, upper, both] = ["lower", "upper", "both"].map(tree);
        let mut random = diff::random::Random::new(seed);
        for root in [&lower, &upper] {
            diff::random::Wild { random: &mut random, root }.grow(30);
        }
        let [below, above, to] = [&lower, &upper, &both].map(|path| open_tree(path).unwrap());
        copy_merged(&[above.as_fd(), below.as_fd()], to.as_fd(), &|_| true).unwrap();
        // Sockets are not copied.
        let on = tree("on");
        let laid = open_tree(&on).unwrap();
        copy_merged(&[below.as_fd()], laid.as_fd(), &|_| true).unwrap();
        lay_tree(above.as_fd(), laid.as_fd()).unwrap();
        let (found, expected) = (diff::random::describe(&on), diff::random::describe(&both));
        for path in expected.keys().chain(found.keys()) {
            assert_eq!(found.get(path), expected.get(path), "seed {seed}: {}", path.display());
        }
    }
}

/// Says that a test needs overlays, where there are none, and whether it has to be left out.
#[expect(clippy::print_stdout, reason = "`make check` shows and counts such lines")]
fn skipped_without_overlays() -> bool {
    let scratch = Scratch::new();
    let root = format!("root.path={}", scratch.path().join("store").display());
    let config = Config::parse("linux", Path::new("x"), b"", &[root, "storage=overlay".to_owned()]).unwrap();
    let refused = Store::init(&config).err();
    if let Some(error) = &refused {
        println!("skipped: needs root and overlayfs: {}", error.one_line());
    }
    refused.is_some()
}

#[test]
fn a_layer_that_comes_twice_is_stacked_once() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (a, b) = (names(&["base", "a", "mask-a"]), names(&["base", "b"]));
    assert_eq!(stack([&a[..], &b].into_iter()), names(&["a", "mask-a", "base", "b"]));
}

#[test]
fn a_mask_has_the_properties_of_what_it_covers() {
    if crate::sys::testing::skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let (merged, mask) = (scratch.rootfs(), scratch.outside());
    fs::create_dir_all(merged.join("d/e")).unwrap();
    let directory = File::open(merged.join("d")).unwrap();
    std::os::unix::fs::fchown(&directory, Some(12), Some(34)).unwrap();
    directory.set_permissions(fs::Permissions::from_mode(0o1730)).unwrap();
    crate::sys::os::attrs::set_xattr(crate::sys::tree::Node::Open(directory.as_fd()), b"user.x", b"y").unwrap();
    directory.set_modified(std::time::UNIX_EPOCH).unwrap();
    let removed = ["d/e/f", "d/x"].map(PathBuf::from);
    mask::make(open_tree(&merged).unwrap().as_fd(), open_tree(&mask).unwrap().as_fd(), &removed).unwrap();
    let made = fs::metadata(mask.join("d")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid(), made.mtime()), (0o1730, 12, 34, 0));
    let made = File::open(mask.join("d")).unwrap();
    let xattrs = crate::sys::os::attrs::get_xattrs(crate::sys::tree::Node::Open(made.as_fd())).unwrap();
    assert_eq!(xattrs, [(b"user.x".to_vec(), b"y".to_vec())]);
    for name in ["d/e/f", "d/x"] {
        let whiteout = fs::symlink_metadata(mask.join(name)).unwrap();
        assert!(
            std::os::unix::fs::FileTypeExt::is_char_device(&whiteout.file_type()) && whiteout.rdev() == 0,
            "{name}"
        );
    }
}
