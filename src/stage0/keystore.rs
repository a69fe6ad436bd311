//! From a file that somebody gave us to one that may be imported.
//!
//! [`Download`] is a private copy of an archive, so that nobody can change it between the moment it is checked and the
//! moment it is unpacked. [`Verified`] is a download that may be imported. It has no public constructor: the only ways to
//! one are in this module, and each is a check or an explicit decision of policy. Importing takes a [`Verified`], so that an
//! import of unchecked bytes does not type-check.
//!
//! Which keys count for an image is a matter of its name, and that is in the archive, which is not to be unpacked before it is
//! verified. So the signature is verified first, by any key that is trusted for anything; then the name that was asked for, if one
//! was, is compared with what that key is trusted for; and the name in the manifest is compared before the image is kept, while its
//! files are still in a private place.

mod armor;
mod fingerprint;
mod key;
mod places;
pub(super) mod refusal;
mod signature;
mod signer;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use fingerprint::Fingerprint;
pub use key::{Key, MAX_KEYS, Validity};
pub use places::{Keys, Keystore, Owner, Revoked, Scope, Trusted};
pub use signature::{MAX_SIGNATURE, Signature};
pub use signer::Signer;

use crate::appc::AcIdentifier;
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
        let mut file = create(path, origin)?;
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

fn create(path: &Path, origin: &str) -> Result<File> {
    let what = || format!("cannot copy {origin} into the store");
    File::options().read(true).write(true).create_new(true).open(path).context(what)
}

/// A stream that is written into a file while it is read. Where that fails, it ends, and the error is kept.
struct Tee<'a, R> {
    source: R,
    file: &'a File,
    size: u64,
    error: Option<std::io::Error>,
}

impl<R: Read> Tee<'_, R> {
    fn pass(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.file.write_all(&buffer[..count])?;
        self.size += count as u64;
        Ok(count)
    }
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.error.is_some() {
            return Ok(0);
        }
        match self.pass(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.error = Some(error);
                Ok(0)
            }
            passed => passed,
        }
    }
}

/// How an image came to be trusted; kept with the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It was not: the person, or the configuration, allowed an image without a signature.
    Unsigned,
    /// It was made in this store, of images that were trusted before.
    Built,
    /// These signed it, with keys that were trusted for images of its name.
    Signed(Vec<Signer>),
}

impl Trust {
    /// Whether an image called `name` that came to be trusted so would be let in again today.
    pub(super) fn still_holds(&self, name: &AcIdentifier, keys: &Keys, policy: Policy) -> bool {
        let Trust::Signed(signers) = self else { return policy.allow_unsigned };
        let counts = |trusted: &Trusted| trusted.scope.covers(name) && trusted.key.validity() == Validity::Good;
        policy.allow_bad || signers.iter().any(|signer| keys.scopes(&signer.fingerprint).any(counts))
    }
}

/// What the person and the configuration allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `allow.no-signature`, or `--insecure-options image`: an image may have no signature.
    pub allow_unsigned: bool,
    /// `--insecure-options image`: a signature that is not good counts as none.
    pub allow_bad: bool,
}

/// How a file is to be checked.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// What the image is to be called, if that is known.
    pub name: Option<&'a AcIdentifier>,
    /// The signatures of the file, if there are any.
    pub signature: Option<&'a Signature>,
    /// The keys that are trusted.
    pub keys: &'a Keys,
    /// What is allowed.
    pub policy: Policy,
    /// Hears what the person should know.
    pub warn: &'a dyn Fn(&str),
}

impl Check<'_> {
    /// Lets a file without a signature pass, if that is allowed.
    fn unsigned(&self, origin: &str) -> Result<()> {
        if !self.policy.allow_unsigned {
            return Err(refusal::of_none(&format!("{origin} is not signed")));
        }
        (self.warn)(&format!("{origin} is not signed: nobody knows who made it"));
        Ok(())
    }

    /// Lets a file pass whose signatures are not good, if that is allowed.
    fn bad(&self, error: Error) -> Result<()> {
        if !self.policy.allow_bad {
            return Err(error);
        }
        (self.warn)(&format!("{}; that is ignored", error.one_line()));
        Ok(())
    }
}

/// Somebody who made a good signature, and where the key is trusted.
type Good = (Signer, Vec<Trusted>);

/// An archive that may be imported.
#[derive(Debug)]
pub struct Verified {
    download: Download,
    trust: Trust,
    /// Who signed it; nobody where the name does not matter.
    signers: Vec<Good>,
    /// The signatures, as they came.
    signature: Option<Vec<u8>>,
    allow_bad: bool,
}

impl Verified {
    /// Copies everything that `source` gives into the new file `path`, and verifies it while it does so. `origin` is the
    /// source's name for people. Without a signature, the policy decides, before anything is copied.
    ///
    /// # Errors
    /// The source cannot be read, the disk is full, or the file may not be imported; the help line says what can be done.
    pub fn copy(
        source: &mut (impl Read + Send + Sync),
        path: &Path,
        origin: &str,
        check: &Check<'_>,
    ) -> Result<Verified> {
        let Some(signature) = check.signature else {
            check.unsigned(origin)?;
            return Ok(Verified::of(Download::copy(source, path, origin)?, Trust::Unsigned));
        };
        let file = create(path, origin)?;
        let mut tee = Tee { source, file: &file, size: 0, error: None };
        let judged = signers(signature, &mut tee, check.keys, check.name)?;
        let (size, error) = (tee.size, tee.error.take());
        error.map_or(Ok(()), Err).context(|| format!("cannot copy {origin} into the store"))?;
        Verified::judged(Download { file, origin: origin.to_owned(), size }, judged, signature, check)
    }

    /// The file `path`, which this program has fetched from `origin` into a directory that only root can reach; it is verified there.
    ///
    /// # Errors
    /// It cannot be read, or may not be imported; the help line says what can be done.
    pub(super) fn fetched(path: &Path, origin: &str, check: &Check<'_>) -> Result<Verified> {
        let download = Download::written(path, origin)?;
        let Some(signature) = check.signature else {
            check.unsigned(origin)?;
            return Ok(Verified::of(download, Trust::Unsigned));
        };
        let mut file = download.file.try_clone().context(|| format!("cannot read {}", path.display()))?;
        let judged = signers(signature, &mut file, check.keys, check.name)?;
        Verified::judged(download, judged, signature, check)
    }

    /// What comes of a file whose signatures were looked at.
    fn judged(
        download: Download,
        judged: Result<Vec<Good>>,
        signature: &Signature,
        check: &Check<'_>,
    ) -> Result<Verified> {
        let verified = match judged {
            Ok(good) => Verified::signed(download, good, signature, check.policy),
            Err(error) => {
                check.bad(error)?;
                return Ok(Verified::of(download, Trust::Unsigned));
            }
        };
        let Some(name) = check.name else { return Ok(verified) };
        let (verified, warning) = verified.named(name)?;
        warning.iter().for_each(|warning| (check.warn)(warning));
        Ok(verified)
    }

    fn of(download: Download, trust: Trust) -> Verified {
        Verified { download, trust, signers: Vec::new(), signature: None, allow_bad: false }
    }

    fn signed(download: Download, good: Vec<Good>, signature: &Signature, policy: Policy) -> Verified {
        let trust = Trust::Signed(good.iter().map(|(signer, _)| signer.clone()).collect());
        let signature = Some(signature.bytes().to_vec());
        Verified { download, trust, signers: good, signature, allow_bad: policy.allow_bad }
    }

    /// The same file, now that the image's name is known: of the signers, those stay that may sign images of that name. Gives a
    /// warning where there are none and the policy goes over that.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn named(self, name: &AcIdentifier) -> Result<(Verified, Option<String>)> {
        self.within(&|scope| scope.covers(name), |signers| refusal::of_name(signers, name))
    }

    /// The same file, now that it is known to be more than an image: of the signers, those stay that may sign everything.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn nameless(self) -> Result<(Verified, Option<String>)> {
        self.within(&|scope| *scope == Scope::Root, refusal::of_everything)
    }

    fn within(
        mut self,
        covers: &dyn Fn(&Scope) -> bool,
        refused: impl FnOnce(&[Good]) -> Error,
    ) -> Result<(Verified, Option<String>)> {
        if self.signers.is_empty() {
            return Ok((self, None));
        }
        let may = |(_, trusted): &Good| trusted.iter().any(|trusted| covers(&trusted.scope));
        if !self.signers.iter().any(may) {
            let error = refused(&self.signers);
            let warning = format!("{}; that is ignored", error.one_line());
            let unsigned = Verified::of(self.download, Trust::Unsigned);
            return if self.allow_bad { Ok((unsigned, Some(warning))) } else { Err(error) };
        }
        self.signers.retain(may);
        self.trust = Trust::Signed(self.signers.iter().map(|(signer, _)| signer.clone()).collect());
        Ok((self, None))
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
        Ok(Verified::of(Download::written(path, origin)?, Trust::Built))
    }

    /// A copy of the archive of an image in another store, which trusts it so and has these signatures of it.
    ///
    /// The policy is not asked again: only root can write in either store, and what is in the other one was let in there. The
    /// importer checks that the archive has the id of that image, so that one that has rotted is found.
    pub(super) fn kept(copy: Download, trust: Trust, signature: Option<Vec<u8>>) -> Verified {
        Verified { signature, ..Verified::of(copy, trust) }
    }

    /// A file that was in this one and has been copied to `path`, a private place. What was checked is the whole; where the part
    /// has a good signature of its own, that is the one to keep.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn part(&self, path: &Path, signature: Option<&Signature>, check: &Check<'_>) -> Result<Verified> {
        let download = Download::written(path, self.origin())?;
        if let Some(signature) = signature {
            let mut file = download.file.try_clone().context(|| format!("cannot read {}", path.display()))?;
            match signers(signature, &mut file, check.keys, check.name)? {
                Ok(good) => return Ok(Verified::signed(download, good, signature, check.policy)),
                Err(error) => (check.warn)(&format!("{}; it is not kept", error.one_line())),
            }
        }
        let (trust, signers) = (self.trust.clone(), self.signers.clone());
        Ok(Verified { trust, signers, allow_bad: self.allow_bad, ..Verified::of(download, Trust::Unsigned) })
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
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The signatures to keep beside it, as they came.
    pub(super) fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }
}

/// Who made good signatures of `data`, which is read to its end, or why there are none.
fn signers(
    signature: &Signature,
    data: impl Read + Send + Sync,
    keys: &Keys,
    name: Option<&AcIdentifier>,
) -> Result<std::result::Result<Vec<Good>, Error>> {
    let verdicts = signature.verify(data, keys)?;
    let (good, faults): (Vec<_>, Vec<_>) = verdicts.into_iter().partition(std::result::Result::is_ok);
    let place = |signer: Signer| {
        let trusted = keys.scopes(&signer.fingerprint).cloned().collect();
        (signer, trusted)
    };
    let good: Vec<Good> = good.into_iter().flatten().map(place).collect();
    if !good.is_empty() {
        return Ok(Ok(good));
    }
    let faults: Vec<_> = faults.into_iter().filter_map(std::result::Result::err).collect();
    Ok(Err(refusal::of_faults(signature.origin(), &faults, keys, name)))
}
