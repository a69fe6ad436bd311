//! From the mount points of an app, and what a person wants mounted, to the volumes that it has (appc, aci.md and pods.md).
//! Nothing is touched here.

use std::path::{Component, Path};

use crate::appc::{AcName, App, Mount, MountPoint, Volume, VolumeKind};
use crate::error::{Error, Result};

/// Where the runtime mounts what every pod has; no volume goes there.
const TAKEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A volume that a person wants in an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// The name of a volume of the pod.
    pub volume: AcName,
    /// Where: an absolute path, or the name of a mount point of the app; that of the volume if not given.
    pub place: Option<String>,
}

/// The volumes of an app and where it has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filled {
    /// The volumes that have to be made beside those of the pod.
    pub(super) volumes: Vec<Volume>,
    /// Where the app has them, a directory before what lies below it.
    pub(super) mounts: Vec<Mount>,
    /// What the person should know.
    pub(super) notices: Vec<String>,
}

/// Mounts volumes of the pod in `app`, whose name in it is `name`: those that are `wanted`, then those whose names mount points
/// have. What mount points are left get empty volumes, one for each name.
///
/// # Errors
/// A volume or mount point is not there, a volume cannot be mounted at such a path, or two would be mounted at the same.
pub(super) fn fill(name: &str, app: Option<&App>, wanted: &[MountRequest], of_pod: &[Volume]) -> Result<Filled> {
    let points = app.map_or(&[][..], |app| &app.mount_points);
    check_points(name, points)?;
    let mut filled = Filled::default();
    for request in wanted {
        check_defined(request, of_pod)?;
        for path in places(name, request, points)? {
            filled.mount(name, &request.volume, path)?;
        }
    }
    for point in points {
        if filled.has(&point.path) {
            continue;
        }
        filled.mount(name, &point.name, &point.path)?;
        if is_there(&point.name, of_pod) {
            continue;
        }
        if !is_there(&point.name, &filled.volumes) {
            let (name, kind) = (point.name.clone(), VolumeKind::empty());
            filled.volumes.push(Volume { name, kind, read_only: false });
        }
        filled.notices.push(format!(
            "{name} gets an empty volume at {}, its mount point {}: it lives as long as the pod",
            point.path, point.name
        ));
    }
    filled.mounts.sort_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
    Ok(filled)
}

impl Filled {
    fn has(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| Path::new(&mount.path) == Path::new(path))
    }

    fn mount(&mut self, name: &str, volume: &AcName, path: &str) -> Result<()> {
        check_target(path)?;
        if self.has(path) {
            return Err(Error::new(format!("{name} would have two volumes at {path}"))
                .help("mount one of them somewhere else: `-m VOLUME:PATH`"));
        }
        self.mounts.push(Mount { volume: volume.clone(), path: path.to_owned(), app_volume: None });
        Ok(())
    }
}

fn is_there(name: &AcName, volumes: &[Volume]) -> bool {
    volumes.iter().any(|volume| volume.name == *name)
}

fn check_defined(request: &MountRequest, of_pod: &[Volume]) -> Result<()> {
    let name = &request.volume;
    if is_there(name, of_pod) {
        return Ok(());
    }
    Err(Error::new(format!("the pod has no volume {name}"))
        .help(format!("define it before the image: `-v {name},kind=host,source=PATH`, or `-v {name},kind=empty`")))
}

/// The mount points of an image may not be at one path, whatever is mounted there.
fn check_points(name: &str, points: &[MountPoint]) -> Result<()> {
    for (i, point) in points.iter().enumerate() {
        check_target(&point.path)?;
        if points[..i].iter().any(|earlier| Path::new(&earlier.path) == Path::new(&point.path)) {
            return Err(Error::new(format!("{name} has two mount points at {}", point.path)));
        }
    }
    Ok(())
}

/// The paths at which a volume is wanted.
fn places<'a>(name: &str, request: &'a MountRequest, points: &'a [MountPoint]) -> Result<Vec<&'a str>> {
    let wanted = match &request.place {
        Some(path) if path.starts_with('/') => return Ok(vec![path]),
        Some(wanted) => wanted.as_str(),
        None => request.volume.as_str(),
    };
    let found: Vec<&str> = points.iter().filter(|p| p.name == *wanted).map(|point| point.path.as_str()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known = match points {
        [] => "it has none".to_owned(),
        points => format!("it has {}", points.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Err(Error::new(format!("{name} has no mount point called {wanted:?}"))
        .help(format!("{known}; any path will do: `-m {}:/PATH`", request.volume)))
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

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    fn want(text: &str) -> MountRequest {
        let (volume, place) = text.split_once(':').map_or((text, None), |(volume, place)| (volume, Some(place)));
        MountRequest { volume: volume.parse().unwrap(), place: place.map(str::to_owned) }
    }

    fn mounts(filled: &Filled) -> Vec<(&str, &str)> {
        filled.mounts.iter().map(|m| (m.volume.as_str(), m.path.as_str())).collect()
    }

    #[test]
    fn volumes_of_the_pod_fill_mount_points_by_name_or_as_wanted() {
        let app = app(&[("data", "/srv/data"), ("logs", "/srv/logs"), ("data", "/other")]);
        let of_pod = [volume("data,kind=host,source=/data"), volume("more,kind=empty")];
        type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], usize);
        let table: [Case<'_>; 6] = [
            (&[], &[("data", "/other"), ("logs", "/srv/logs"), ("data", "/srv/data")], 1),
            (&["data"], &[("data", "/other"), ("logs", "/srv/logs"), ("data", "/srv/data")], 1),
            (&["more:/srv/logs/"], &[("data", "/other"), ("data", "/srv/data"), ("more", "/srv/logs/")], 0),
            (&["more:logs"], &[("data", "/other"), ("data", "/srv/data"), ("more", "/srv/logs")], 0),
            (&["more:data"], &[("more", "/other"), ("more", "/srv/data"), ("logs", "/srv/logs")], 1),
            (
                &["more:/a", "data:/a/b"],
                &[("more", "/a"), ("data", "/a/b"), ("data", "/other"), ("data", "/srv/data"), ("logs", "/srv/logs")],
                1,
            ),
        ];
        for (wanted, expected, empty) in table {
            let wanted: Vec<MountRequest> = wanted.iter().map(|text| want(text)).collect();
            let filled = fill("web", Some(&app), &wanted, &of_pod).unwrap();
            let mut found = mounts(&filled);
            assert!(found.is_sorted_by_key(|(_, path)| Path::new(*path)), "{found:?}");
            let mut expected = expected.to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            assert_eq!((filled.volumes.len(), filled.notices.len()), (empty, empty));
        }
        let console = fill("web", None, &[want("more:/a")], &of_pod).unwrap();
        assert_eq!(mounts(&console), [("more", "/a")]);
    }

    #[test]
    fn what_is_wanted_has_to_be_there() {
        let points = app(&[("data", "/srv/data"), ("logs", "/srv/logs")]);
        let of_pod = [volume("data,kind=host,source=/data"), volume("more,kind=empty")];
        let table: [(&[&str], &str, &str); 6] = [
            (&["none:/x"], "the pod has no volume none", "define it before the image"),
            (
                &["more"],
                "web has no mount point called \"more\"",
                "it has data, logs; any path will do: `-m more:/PATH`",
            ),
            (&["more:else"], "web has no mount point called \"else\"", "it has data, logs"),
            (&["more:/a", "data:/a/."], "web would have two volumes at /a/.", "-m VOLUME:PATH"),
            (&["more:data", "data"], "web would have two volumes at /srv/data", "-m VOLUME:PATH"),
            (&["more:/dev/x"], "cannot mount a volume at /dev/x: the runtime mounts its own there", ""),
        ];
        for (wanted, expected, help) in table {
            let wanted: Vec<MountRequest> = wanted.iter().map(|text| want(text)).collect();
            let error = fill("web", Some(&points), &wanted, &of_pod).unwrap_err();
            assert_eq!(error.one_line(), expected);
            assert!(error.help_line().unwrap_or_default().contains(help), "{:?}", error.help_line());
        }
        let error = fill("web", None, &[want("more")], &of_pod).unwrap_err();
        assert_eq!(error.help_line(), Some("it has none; any path will do: `-m more:/PATH`"));
    }

    #[test]
    fn mount_points_get_empty_volumes() {
        let filled =
            fill("web", Some(&app(&[("data", "/srv/data"), ("logs", "/srv"), ("data", "/other")])), &[], &[]).unwrap();
        let volumes: Vec<(&str, &VolumeKind)> = filled.volumes.iter().map(|v| (v.name.as_str(), &v.kind)).collect();
        assert_eq!(volumes, [("data", &VolumeKind::empty()), ("logs", &VolumeKind::empty())]);
        assert_eq!(mounts(&filled), [("data", "/other"), ("logs", "/srv"), ("data", "/srv/data")]);
        assert_eq!(filled.notices.len(), 3);
        assert_eq!(fill("web", Some(&app(&[])), &[], &[]).unwrap(), Filled::default());
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
            let error = fill("web", Some(&app(&[("data", path)])), &[], &[]).unwrap_err();
            assert_eq!(error.one_line(), format!("cannot mount a volume at {}: {why}", path.escape_debug()));
        }
        let error = fill("web", Some(&app(&[("a", "/srv"), ("b", "/srv/")])), &[], &[]).unwrap_err();
        assert_eq!(error.one_line(), "web has two mount points at /srv/");
        fill("web", Some(&app(&[("a", "/device"), ("b", "/srv/./x")])), &[], &[]).unwrap();
    }
}
