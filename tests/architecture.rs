//! The shape of the tree: which module may use which, where unsafe code and the kernel's name may stand, how long a file may
//! be. What breaks a rule is a defect, however well it works.

#[path = "architecture/rust.rs"]
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

/// Which top-level module may use which. A name with `::` allows only what is below it. `error`, `progress` and `steps` are [`LEAVES`].
const EDGES: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "appc",
            "command",
            "config",
            "isolation",
            "layer",
            "metadata",
            "network",
            "stage0",
            "stage1",
            "stage2",
            "storage",
            "switch",
            "tree",
        ],
    ),
    ("layer", &["stage0", "stage1", "storage", "isolation", "network", "appc", "config", "command"]),
    ("tree", &["stage0", "stage1", "storage", "isolation", "network", "appc", "config", "command"]),
    ("metadata", &["stage0::pod", "stage0::image", "appc", "config", "command", "sys"]),
    ("stage1", &["stage0", "stage2", "metadata::start", "isolation", "network", "storage", "appc", "config", "sys"]),
    (
        "stage0",
        &[
            "storage",
            "command",
            "appc",
            "config",
            // What programs a kernel runs, locks, files and paths inside a root, and whether a signal ends long work on them; `is_root` and `testing` are for
            // its tests.
            "sys::abi",
            "sys::acl",
            "sys::is_root",
            "sys::lock",
            "sys::os::attrs",
            "sys::os::sync_filesystem",
            "sys::paths",
            "sys::rootfs",
            "sys::signal::go_on",
            "sys::testing",
            "sys::tree",
        ],
    ),
    ("stage2", &["appc", "sys"]),
    ("isolation", &["sys", "command"]),
    ("network", &["sys", "command"]),
    ("storage", &["sys", "command"]),
    ("switch", &["sys", "command"]),
    ("command", &["sys"]),
    ("appc", &[]),
    ("config", &[]),
    ("sys", &[]),
    ("steps", &["error"]),
    ("progress", &[]),
    ("error", &[]),
];

/// What every module may use, and those that may not: they know nothing of this crate.
const LEAVES: [&str; 3] = ["error", "progress", "steps"];
const BELOW_LEAVES: [&str; 6] = ["appc", "config", "sys", "error", "progress", "steps"];

/// The files that may name a kernel: those where one module or another is chosen.
const MAY_NAME_KERNELS: [&str; 2] = ["src/isolation/mod.rs", "src/sys/mod.rs"];

/// The longest file, in lines.
const LONGEST: usize = 600;

/// A file of the tree: its name from the top, and its text.
struct Source {
    name: String,
    text: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the sources") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(top).expect("below the top").to_string_lossy().into_owned();
                found.push(Source { name, text: fs::read_to_string(&path).expect("a source") });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The module that a file of `src` is: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// What the file uses of other top-level modules and may not.
fn forbidden_uses(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(from) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| name == from) else {
        return vec![format!("{file}: the module {from} is not in the table of edges")];
    };
    let leaves: &[&str] = if BELOW_LEAVES.contains(&from.as_str()) { &[] } else { &LEAVES };
    let is_module = |name: &String| EDGES.iter().any(|(module, _)| module == name);
    let mut wrong: Vec<String> = rust::paths(&module, text)
        .into_iter()
        .filter(|path| path.first().is_some_and(|first| is_module(first) && first != from))
        .map(|path| path.join("::"))
        .filter(|path| {
            !allowed.iter().chain(leaves).any(|allowed| is_below(path, allowed) || names_only(path, allowed))
        })
        .map(|path| format!("{file}: {from} may not use {path}"))
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong
}

fn is_below(path: &str, allowed: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A `use` of a whole module of which only a part is allowed does nothing yet: what follows the name elsewhere counts.
fn names_only(path: &str, allowed: &str) -> bool {
    !path.contains("::") && allowed.split("::").next() == Some(path)
}

fn has_unsafe(text: &str) -> bool {
    rust::tokens(text).contains(&"unsafe".to_owned())
}

fn names_kernel(text: &str) -> bool {
    rust::tokens(text).iter().any(|token| token == "target_os")
}

#[test]
fn modules_use_what_they_may() {
    let wrong: Vec<String> = sources("src").iter().flat_map(|s| forbidden_uses(&s.name, &s.text)).collect();
    assert!(wrong.is_empty(), "edges that DESIGN does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    let wrong = |s: &Source| !s.name.starts_with("src/sys/") && has_unsafe(&s.text);
    let wrong: Vec<String> = sources("src").into_iter().filter(wrong).map(|s| s.name).collect();
    assert_eq!(wrong, [""; 0]);
    assert!(sources("src").iter().any(|s| has_unsafe(&s.text)), "the search finds nothing at all");
}

#[test]
fn kernels_are_named_in_few_places() {
    let naming: Vec<String> = sources("src").into_iter().filter(|s| names_kernel(&s.text)).map(|s| s.name).collect();
    assert_eq!(naming, MAY_NAME_KERNELS);
}

#[test]
fn files_are_short() {
    let all = sources("src").into_iter().chain(sources("tests"));
    let long: Vec<String> = all.filter(|s| s.text.lines().count() > LONGEST).map(|s| s.name).collect();
    assert_eq!(long, [""; 0], "more than {LONGEST} lines");
}

#[test]
fn every_top_level_module_is_in_the_table() {
    let lib = sources("src").into_iter().find(|s| s.name == "src/lib.rs").expect("src/lib.rs").text;
    let tokens = rust::tokens(&lib);
    let modules: Vec<&String> = tokens.windows(2).filter(|w| w[0] == "mod").map(|w| &w[1]).collect();
    assert!(modules.len() > 5, "{modules:?}");
    for module in modules {
        assert!(EDGES.iter().any(|(name, _)| name == module), "{module}");
    }
}

#[test]
fn the_table_has_no_cycle_between_modules() {
    let edges = |from: &str| EDGES.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, to)| *to);
    // What may be used through a part only is an edge that leads back by design: stage1 starts the metadata service.
    let mut left: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    while !left.is_empty() {
        let before = left.len();
        let still = left.clone();
        left.retain(|from| edges(from).iter().any(|to| still.contains(to)));
        assert!(left.len() < before, "a cycle among {left:?}");
    }
}

#[test]
fn forbidden_uses_are_found() {
    let table: [(&str, &str, &[&str]); 15] = [
        ("src/cli/run.rs", "use crate::stage1::run;", &[]),
        ("src/cli/run.rs", "use crate::sys::process::Exit;", &["cli may not use sys::process::Exit"]),
        ("src/cli/run.rs", "fn f() { crate::sys::is_root() }", &["cli may not use sys::is_root"]),
        (
            "src/cli/mod.rs",
            "use super::{error::Error, sys::{lock, paths as p}};",
            &["cli may not use sys::lock", "cli may not use sys::paths"],
        ),
        ("src/cli/run.rs", "use super::super::sys;", &["cli may not use sys"]),
        ("src/cli/run.rs", "use super::sys;", &[]),
        ("src/stage2/exec.rs", "use crate::{sys, stage1::run::Runner};", &["stage2 may not use stage1::run::Runner"]),
        (
            "src/stage0/pod.rs",
            "use crate::sys;\nfn f() { sys::paths::x(); sys::os::pivot() }",
            &["stage0 may not use sys::os::pivot"],
        ),
        (
            "src/stage0/pod.rs",
            "use crate::sys as s;\nfn f() { s::signal::x() }",
            &["stage0 may not use sys::signal::x"],
        ),
        ("src/stage0/pod.rs", "use crate::sys::*;", &["stage0 may not use sys::*"]),
        ("src/storage/dir.rs", "use crate::error::Error; use crate::steps::Steps;", &[]),
        ("src/sys/lock.rs", "use crate::error::Error;", &["sys may not use error::Error"]),
        ("src/appc/name.rs", "mod tests { use super::super::super::config; }", &["appc may not use config"]),
        ("src/appc/name.rs", "// use crate::config;\nconst A: &str = \"crate::config\"; const B: char = '\"';", &[]),
        ("src/other/mod.rs", "", &["the module other is not in the table of edges"]),
    ];
    for (file, text, expected) in table {
        let expected: Vec<String> = expected.iter().map(|e| format!("{file}: {e}")).collect();
        assert_eq!(forbidden_uses(file, text), expected, "{text}");
    }
}

#[test]
fn unsafe_and_kernels_are_found_in_code_only() {
    assert!(
        has_unsafe("fn f() { unsafe { g() } }") && !has_unsafe("// unsafe\nconst A: &str = r#\"unsafe\"#; unsafe_code")
    );
    assert!(
        names_kernel("#[cfg(target_os = \"linux\")] mod x;")
            && !names_kernel("/* target_os /* x */ */ 'a' \"target_os\"")
    );
}
