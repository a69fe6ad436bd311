//! `jetpack export`

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use super::saveid::temporary;
use super::{Host, output};
use crate::error::{Context, Error, Result};
use crate::stage0::export::Exported;
use crate::stage0::image::Image;
use crate::stage0::store::Store;
use crate::stage1::watch::Watch;

/// Write the archive of an image
///
/// It is the archive as it was imported, byte for byte, so that signatures of it stay valid. With --flat it is a new one that
/// has the files of the dependencies in it and runs alone, compressed as images.aci.compression in jetpack.conf says; the same
/// image gives the same archive.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write an image without dependencies and pathWhitelist
    #[arg(long)]
    flat: bool,
    /// The image: a name[:version][,label=value…], an id, or the beginning of one
    image: String,
    /// The file, which is replaced when all is written; - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl Export {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let image = store.find_image(&self.image)?;
        host.note(|| format!("exporting {}", image.id));
        if self.file == Path::new("-") {
            let exported = self.to_standard_output(host, &store, &image)?;
            tell(host, &exported);
            return Ok(0);
        }
        let mut target = Target::open(&self.file)?;
        let written = target.file().and_then(|file| self.write(host, &store, &image, file));
        let exported = match (written, target.watch.take().and_then(Watch::end)) {
            (Ok(exported), None) => exported,
            (Err(error), None) => return Err(error),
            (_, Some(signal)) => {
                output::error(&Error::new(format!("the export was {signal}")));
                return Ok(signal.code());
            }
        };
        let size = target.finish()?;
        tell(host, &exported);
        if host.json() {
            output::json(&serde_json::json!({
                "file": self.file,
                "id": exported.id,
                "compression": exported.compression,
                "size": size,
            }))?;
        }
        Ok(0)
    }

    fn to_standard_output(&self, host: &Host, store: &Store, image: &Image) -> Result<Exported> {
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
        self.write(host, store, image, File::from(out))
    }

    fn write(&self, host: &Host, store: &Store, image: &Image, out: impl Write) -> Result<Exported> {
        match self.flat {
            true => store.export_flat(image, host.config.compression().into(), out),
            false => store.export(image, out),
        }
    }
}

fn tell(host: &Host, exported: &Exported) {
    exported.warnings.iter().for_each(|warning| host.warn(warning));
    host.note(|| format!("exported {}, compressed by {}", exported.id, exported.compression));
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
