//! From a file that somebody gave us to one that may be imported.
//!
//! [`Download`] is a private copy of an archive, so that nobody can change it between the moment it is checked and the
//! moment it is unpacked. [`Verified`] is a download that may be imported. It has no public constructor: the only ways to
//! one are in this module, and each is a check or an explicit decision of policy. Importing takes a [`Verified`], so that an
//! import of unchecked bytes does not type-check.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

/// A private copy of an archive, in a directory that only root can reach.
#[derive(Debug)]
pub struct Download {
    file: File,
    origin: String,
    size: u64,
}

impl Download {
    /// Copies everything that `source` gives into the new file `path`. `origin` is the source's name for people.
    ///
    /// # Errors
    /// The source cannot be read, or the disk is full.
    pub fn copy(source: &mut impl Read, path: &Path, origin: &str) -> Result<Download> {
        let what = || format!("cannot copy {origin} into the store");
        let mut file = File::options().read(true).write(true).create_new(true).open(path).context(what)?;
        let size = std::io::copy(source, &mut file).context(what)?;
        Ok(Download { file, origin: origin.to_owned(), size })
    }

    /// The file `path`, which this program has written itself.
    ///
    /// # Errors
    /// It cannot be read.
    fn written(path: &Path, origin: &str) -> Result<Download> {
        let what = || format!("cannot read {}", path.display());
        let file = File::open(path).context(what)?;
        let size = file.metadata().context(what)?.len();
        Ok(Download { file, origin: origin.to_owned(), size })
    }
}

/// How an image came to be trusted; kept with the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It was not: the person, or the configuration, allowed an image without a signature.
    Unsigned,
    /// It was made in this store, of images that were trusted before.
    Built,
}

/// What the person and the configuration allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `allow.no-signature`, or `--insecure-options image`.
    pub allow_unsigned: bool,
}

/// An archive that may be imported.
#[derive(Debug)]
pub struct Verified {
    download: Download,
    trust: Trust,
}

impl Verified {
    /// Applies the policy for images without a signature: the one explicit way past verification.
    ///
    /// # Errors
    /// The policy allows no such image; the help line says how to allow it.
    pub fn unsigned(download: Download, policy: Policy) -> Result<Verified> {
        if policy.allow_unsigned {
            return Ok(Verified { download, trust: Trust::Unsigned });
        }
        Err(Error::new(format!("{} is not signed", download.origin)).help(
            "to import it without a signature, pass `--insecure-options image`, or set `allow.no-signature = on` in jetpack.conf",
        ))
    }

    /// An archive that this program has written itself, into a directory that only root can reach. `origin` says for people
    /// what it was made of.
    ///
    /// Nobody can have signed it, and the policy for images without a signature is not asked. That lets nothing in: whoever
    /// can have an image built is root, and what it holds was made in a pod of an image that was let in before, or was given
    /// by root to be put into it. Only the archive that [`Store::import_built`](super::store::Store::import_built) finds in
    /// its own working directory comes this way; bytes from outside have no way to that place.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn built(path: &Path, origin: &str) -> Result<Verified> {
        Ok(Verified { download: Download::written(path, origin)?, trust: Trust::Built })
    }

    /// A copy of the archive of an image in another store, which trusts it so.
    ///
    /// The policy is not asked again: only root can write in either store, and what is in the other one was let in there. The
    /// importer checks that the archive has the id of that image, so that one that has rotted is found.
    pub(super) fn kept(copy: Download, trust: Trust) -> Verified {
        Verified { download: copy, trust }
    }

    /// A file that was in this one and has been copied to `path`, a private place. What was checked is the whole.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn part(&self, path: &Path) -> Result<Verified> {
        Ok(Verified { download: Download::written(path, self.origin())?, trust: self.trust })
    }

    /// The bytes, from the first on.
    ///
    /// # Errors
    /// The private copy cannot be read.
    pub fn reader(&self) -> Result<File> {
        let what = || format!("cannot read the copy of {}", self.download.origin);
        let mut file = self.download.file.try_clone().context(what)?;
        file.seek(SeekFrom::Start(0)).context(what)?;
        Ok(file)
    }

    /// The name of the source, for people.
    pub fn origin(&self) -> &str {
        &self.download.origin
    }

    /// The length of the archive as it came, in bytes.
    pub fn size(&self) -> u64 {
        self.download.size
    }

    /// How it came to be trusted.
    pub fn trust(&self) -> Trust {
        self.trust
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_decides_over_the_unsigned() {
        let path = std::env::temp_dir().join(format!("jetpack-keystore-{}", std::process::id()));
        for allow_unsigned in [false, true] {
            let download = Download::copy(&mut &b"bytes"[..], &path, "x.aci").unwrap();
            let verified = Verified::unsigned(download, Policy { allow_unsigned });
            match verified {
                Ok(verified) => {
                    assert!(allow_unsigned);
                    let mut bytes = Vec::new();
                    verified.reader().unwrap().read_to_end(&mut bytes).unwrap();
                    assert_eq!(
                        (bytes.as_slice(), verified.size(), verified.trust()),
                        (&b"bytes"[..], 5, Trust::Unsigned)
                    );
                }
                Err(error) => {
                    assert!(!allow_unsigned);
                    assert_eq!(error.to_string(), "x.aci is not signed");
                    assert!(error.help_line().unwrap().contains("--insecure-options image"));
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
}
