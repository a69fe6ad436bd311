//! From the mount points of an app to the volumes that fill them (appc, aci.md and pods.md). Nothing is touched here.

use std::path::{Component, Path};

use crate::appc::{App, Mount, Volume, VolumeKind};
use crate::error::{Error, Result};

/// Where the runtime mounts what every pod has; no volume goes there.
const TAKEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The volumes of an app and where it has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filled {
    /// The volumes that have to be made.
    pub(super) volumes: Vec<Volume>,
    /// Where the app has them, a directory before what lies below it.
    pub(super) mounts: Vec<Mount>,
    /// What the person should know.
    pub(super) notices: Vec<String>,
}

/// Fills the mount points of `app`, whose name in the pod is `name`, with empty volumes, one for each name.
///
/// # Errors
/// A volume cannot be mounted at such a path, or two would be mounted at the same.
pub(super) fn fill(name: &str, app: &App) -> Result<Filled> {
    let mut filled = Filled::default();
    for point in &app.mount_points {
        check_target(&point.path)?;
        let same = |mount: &Mount| Path::new(&mount.path) == Path::new(&point.path);
        if filled.mounts.iter().any(same) {
            return Err(Error::new(format!("{name} has two mount points at {}", point.path)));
        }
        if !filled.volumes.iter().any(|volume| volume.name == point.name) {
            let (name, kind) = (point.name.clone(), VolumeKind::empty());
            filled.volumes.push(Volume { name, kind, read_only: false });
        }
        filled.notices.push(format!(
            "{name} gets an empty volume at {}, its mount point {}: it lives as long as the pod",
            point.path, point.name
        ));
        filled.mounts.push(Mount { volume: point.name.clone(), path: point.path.clone(), app_volume: None });
    }
    filled.mounts.sort_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
    Ok(filled)
}

/// Refuses a path where nothing can be mounted without covering what the pod needs.
fn check_target(path: &str) -> Result<()> {
    let target = Path::new(path);
    let plain = target.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let why = if path.chars().any(char::is_control) {
        "it holds a control character"
    } else if !plain {
        "it holds `..`"
    } else if target == Path::new("/") {
        "that is the whole root filesystem"
    } else if TAKEN.iter().any(|taken| target.starts_with(taken)) {
        "the runtime mounts its own there"
    } else {
        return Ok(());
    };
    Err(Error::with_source(format!("cannot mount a volume at {}", path.escape_debug()), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(points: &[(&str, &str)]) -> App {
        let point = |(name, path): &(&str, &str)| serde_json::json!({ "name": name, "path": path }).to_string();
        let points = points.iter().map(point).collect::<Vec<_>>().join(",");
        serde_json::from_str(&format!(r#"{{"exec": ["/x"], "user": "0", "group": "0", "mountPoints": [{points}]}}"#))
            .unwrap()
    }

    #[test]
    fn mount_points_get_empty_volumes() {
        let filled = fill("web", &app(&[("data", "/srv/data"), ("logs", "/srv"), ("data", "/other")])).unwrap();
        let volumes: Vec<(&str, &VolumeKind)> = filled.volumes.iter().map(|v| (v.name.as_str(), &v.kind)).collect();
        assert_eq!(volumes, [("data", &VolumeKind::empty()), ("logs", &VolumeKind::empty())]);
        let mounts: Vec<(&str, &str)> = filled.mounts.iter().map(|m| (m.volume.as_str(), m.path.as_str())).collect();
        assert_eq!(mounts, [("data", "/other"), ("logs", "/srv"), ("data", "/srv/data")]);
        assert_eq!(filled.notices.len(), 3);
        assert_eq!(fill("web", &app(&[])).unwrap(), Filled::default());
    }

    #[test]
    fn places_where_no_volume_goes() {
        for (path, why) in [
            ("/", "that is the whole root filesystem"),
            ("//", "that is the whole root filesystem"),
            ("/proc", "the runtime mounts its own there"),
            ("/dev/shm", "the runtime mounts its own there"),
            ("/srv/../etc", "it holds `..`"),
            ("/srv\n/home", "it holds a control character"),
            ("/srv\u{9b}2J", "it holds a control character"),
        ] {
            let error = fill("web", &app(&[("data", path)])).unwrap_err();
            assert_eq!(error.one_line(), format!("cannot mount a volume at {}: {why}", path.escape_debug()));
        }
        let error = fill("web", &app(&[("a", "/srv"), ("b", "/srv/")])).unwrap_err();
        assert_eq!(error.one_line(), "web has two mount points at /srv/");
        fill("web", &app(&[("a", "/device"), ("b", "/srv/./x")])).unwrap();
    }
}
