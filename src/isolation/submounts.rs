//! What is mounted below a directory of the host, on any kernel.

use std::path::{Path, PathBuf};

/// What is mounted below `source`, a directory after the one that it is in: its kind, and its path relative to the source. Of
/// two at one place the later one is seen. `mounted` has the oldest first.
pub(super) fn below<'a>(
    source: &Path,
    mounted: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Vec<(&'a str, PathBuf)> {
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for (kind, target) in mounted {
        let Ok(rest) = target.strip_prefix(source) else { continue };
        if rest.as_os_str().is_empty() {
            // It covers all that was mounted there before.
            found.clear();
        } else {
            found.retain(|(_, earlier)| !earlier.starts_with(rest));
            found.push((kind, rest.to_path_buf()));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_below_a_source_is_found_in_order() {
        let found = |source: &str, mounted: &[(&'static str, &'static str)]| -> Vec<String> {
            let mounted = mounted.iter().map(|(kind, target)| (*kind, Path::new(*target)));
            below(Path::new(source), mounted).iter().map(|(kind, path)| format!("{kind} {}", path.display())).collect()
        };
        let host = [
            ("ufs", "/"),
            ("devfs", "/dev"),
            ("zfs", "/srv/b/c"),
            ("tmpfs", "/srv/a"),
            ("zfs", "/srv/b"),
            ("ufs", "/srvx"),
        ];
        // The one on /srv/b came later, and covers what was below it.
        assert_eq!(found("/srv", &host), ["tmpfs a", "zfs b"]);
        assert_eq!(found("/", &host), ["devfs dev", "tmpfs srv/a", "zfs srv/b", "ufs srvx"]);
        assert_eq!(found("/srv/a", &host), [""; 0]);
        assert_eq!(
            found("/srv", &[("ufs", "/srv/b"), ("zfs", "/srv/b/c"), ("zfs", "/srv/b-c")]),
            ["ufs b", "zfs b/c", "zfs b-c"]
        );
        assert_eq!(found("/srv", &[("ufs", "/srv/a"), ("nfs", "/srv/a")]), ["nfs a"]);
        assert_eq!(found("/srv", &[("ufs", "/srv/a"), ("nfs", "/srv")]), [""; 0]);
    }
}
