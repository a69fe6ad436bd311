//! `jetpack export`

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::saveid::temporary;
use super::target::pod_or_image;
use super::{Host, output};
use crate::appc::ImageId;
use crate::error::{Context, Error, Result};
use crate::stage0::compression::Compression;
use crate::stage0::image::Image;
use crate::stage0::pod::{LockedPod, State};
use crate::stage0::store::Store;
use crate::stage1::lifecycle::Engine;
use crate::stage1::watch::Watch;

/// Write the archive of an image, or a package of an image or pod
///
/// It is the archive as it was imported, byte for byte, so that signatures of it stay valid; those that it came with are written
/// beside FILE, into FILE.asc. With --flat it is a new one that
/// has the files of the dependencies in it and runs alone, compressed as images.aci.compression in jetpack.conf says; the same
/// image gives the same archive.
///
/// With --zfs it is a package for `jetpack import` on another host whose store is in a ZFS pool, too: of an image, with its
/// archive and what zfs(8) sends of its dataset; or of a pod that does not run, with all that it has written. A package of a pod
/// needs the pod's images there, and one of an image those that it depends on.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write an image without dependencies and pathWhitelist
    #[arg(long)]
    flat: bool,
    /// Write a package of an image or pod, from a store in a ZFS pool to another
    #[arg(long, conflicts_with = "flat")]
    zfs: bool,
    /// Send only what differs from the image below, which has to be there from a package
    #[arg(long, requires = "zfs")]
    incremental: bool,
    /// The image: a name[:version][,label=value…], a name@tag, an id, or the beginning of one; with --zfs, or a pod: its UUID, or the
    /// beginning of it
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The file, which is replaced when all is written; - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// What is to be exported.
enum Subject {
    Image(Box<Image>),
    /// It does not run as long as this lives.
    Pod(LockedPod),
}

/// What was exported.
#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    Archive { id: ImageId, compression: Compression },
    Image { id: ImageId },
    Pod { pod: Uuid },
}

impl Export {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let subject = self.find(host, &store)?;
        host.note(|| format!("exporting {}", subject.id()));
        if self.file == Path::new("-") {
            self.to_standard_output(host, &store, &subject)?;
            return Ok(0);
        }
        let mut target = Target::open(&self.file)?;
        let written = target.file().and_then(|file| self.write(host, &store, &subject, file));
        let written = match (written, target.watch.take().and_then(Watch::end)) {
            (Ok(written), None) => written,
            (Err(error), None) => return Err(error),
            (_, Some(signal)) => {
                output::error(&Error::new(format!("the export was {signal}")));
                return Ok(signal.code());
            }
        };
        let size = target.finish()?;
        let signature = match size {
            Some(_) => self.write_signature(host, &store, &subject)?,
            None => None,
        };
        if host.json() {
            let mut told = json!(written);
            (told["file"], told["size"]) = (json!(self.file), json!(size));
            if let Some(signature) = signature {
                told["signature"] = json!(signature);
            }
            output::json(&told)?;
        }
        Ok(0)
    }

    /// Writes the signatures of an archive that was written into a file of its own, beside it. Gives their file, if there is one.
    fn write_signature(&self, host: &Host, store: &Store, subject: &Subject) -> Result<Option<PathBuf>> {
        let mut beside = self.file.clone().into_os_string();
        beside.push(".asc");
        let beside = PathBuf::from(beside);
        let signature = match subject {
            Subject::Image(image) if !self.flat && !self.zfs => store.image_signature(&image.id)?,
            Subject::Image(_) | Subject::Pod(_) => None,
        };
        let Some(signature) = signature else {
            if beside.exists() {
                let (file, beside) = (self.file.display(), beside.display());
                host.warn(&format!("{beside} is there already, and is no signature of what was written to {file}"));
            }
            return Ok(None);
        };
        let mut target = Target::open(&beside)?;
        target.file.write_all(&signature).context(|| format!("cannot write {}", beside.display()))?;
        target.watch.take();
        target.finish()?;
        host.note(|| format!("wrote its signature to {}", beside.display()));
        Ok(Some(beside))
    }

    fn find(&self, host: &Host, store: &Store) -> Result<Subject> {
        let pod = if self.zfs { pod_or_image(store, &self.image)? } else { None };
        let Some(pod) = pod else { return Ok(Subject::Image(Box::new(store.find_image(&self.image)?))) };
        // What a killed runner left may still write.
        Engine::new(store, &host.config, &|text| host.warn(text))?.reap()?;
        let locked = store.lock_pod(&pod).map_err(|error| match pod.state {
            State::Running => error.help(format!("end it first: `jetpack kill {}`", pod.id)),
            _ => error,
        })?;
        Ok(Subject::Pod(locked))
    }

    fn to_standard_output(&self, host: &Host, store: &Store, subject: &Subject) -> Result<()> {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(
                Error::new("an archive is nothing for a terminal").help("name a file, or redirect standard output")
            );
        }
        if host.json() {
            return Err(Error::new("standard output cannot have the archive and JSON").help("name a file"));
        }
        let out = stdout.as_fd().try_clone_to_owned().context(|| "cannot write to standard output")?;
        self.write(host, store, subject, File::from(out)).map(drop)
    }

    fn write(&self, host: &Host, store: &Store, subject: &Subject, out: File) -> Result<Written> {
        match subject {
            Subject::Pod(locked) => {
                store.export_pod_package(locked, self.incremental, out)?;
                Ok(Written::Pod { pod: locked.pod.id })
            }
            Subject::Image(image) if self.zfs => {
                store.export_image_package(image, self.incremental, out)?;
                Ok(Written::Image { id: image.id.clone() })
            }
            Subject::Image(image) => {
                let exported = match self.flat {
                    true => store.export_flat(image, host.config.compression().into(), out),
                    false => store.export(image, out),
                }?;
                exported.warnings.iter().for_each(|warning| host.warn(warning));
                host.note(|| format!("exported {}, compressed by {}", exported.id, exported.compression));
                Ok(Written::Archive { id: exported.id, compression: exported.compression })
            }
        }
    }
}

impl Subject {
    /// How it is named.
    fn id(&self) -> String {
        match self {
            Subject::Image(image) => image.id.to_string(),
            Subject::Pod(locked) => format!("pod {}", locked.pod.id),
        }
    }
}

/// A file that is written. A regular file, or one that is not there yet, is made beside its place and gets its name when it is
/// whole; anything else, such as a pipe or a device, is written to.
struct Target {
    file: File,
    /// Where the file is, and where it goes.
    names: Option<(PathBuf, PathBuf)>,
    /// Signals, after which a file that is not whole has to go.
    watch: Option<Watch>,
}

impl Target {
    fn open(path: &Path) -> Result<Target> {
        let what = || format!("cannot write {}", path.display());
        // A symlink stays, and what it leads to is replaced.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&place).is_ok_and(|found| !found.is_file()) {
            let file = File::options().write(true).open(&place).context(what)?;
            return Ok(Target { file, names: None, watch: None });
        }
        let beside = temporary(&place).ok_or_else(|| Error::new(what()))?;
        let watch = Watch::begin()?;
        let file = File::options().write(true).create_new(true).open(&beside).context(what)?;
        Ok(Target { file, names: Some((beside, place)), watch: Some(watch) })
    }

    fn file(&self) -> Result<File> {
        self.file.try_clone().context(|| "cannot write the archive")
    }

    /// Gives the file its name; gives its length, where it has one.
    fn finish(mut self) -> Result<Option<u64>> {
        let Some((beside, place)) = &self.names else { return Ok(None) };
        let what = || format!("cannot write {}", place.display());
        self.file.sync_all().context(what)?;
        let size = self.file.metadata().context(what)?.len();
        fs::rename(beside, place).context(what)?;
        self.names = None;
        Ok(Some(size))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.names {
            // The error of what was written before is the one to tell.
            let _ = fs::remove_file(beside);
        }
    }
}
