//! Tags: words by which people name images of their own store, and which they can move from one image to another.
//!
//! `NAME@TAG` means the one image called `NAME` that has the tag. Each is a small file in the directory `tags` of the store,
//! which has the image's id in it and takes the place of the one before by rename. What is called so is there as long as its
//! image is: removing the image removes its tags.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::str::FromStr;

use super::image::{Image, is_missing};
use super::store::Store;
use crate::appc::{AcIdentifier, ImageId};
use crate::error::{Context, Error, Result};

/// A tag of images of one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    name: AcIdentifier,
    word: String,
}

/// The longest word.
const LONGEST: usize = 128;

impl Tag {
    /// The tag `word` of images called `name`.
    ///
    /// # Errors
    /// The word has other characters than letters, digits, `.`, `_` and `-`, does not begin with a letter or digit, or is longer than
    /// 128 characters.
    pub fn new(name: AcIdentifier, word: &str) -> Result<Tag> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = word.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && word.len() <= LONGEST && word.chars().all(is_good) {
            return Ok(Tag { name, word: word.to_owned() });
        }
        Err(Error::new(format!("{word:?} is not a tag")).help(format!(
            "a tag has letters, digits, . _ and -, begins with a letter or digit, and is no longer than {LONGEST}"
        )))
    }

    /// The word without the name.
    pub fn word(&self) -> &str {
        &self.word
    }

    /// The name of its file. What is between slashes in a name has no `+`.
    fn file(&self) -> String {
        self.to_string().replace('/', "+")
    }
}

impl FromStr for Tag {
    type Err = Error;

    /// Reads `NAME@TAG`.
    fn from_str(text: &str) -> Result<Tag> {
        let parts = text.split_once('@');
        let (name, word) = parts.ok_or_else(|| Error::new(format!("{text:?} is not of the form NAME@TAG")))?;
        if name.contains([':', ',']) {
            return Err(Error::new(format!("{text:?} has both a tag and a label"))
                .help("a tag means one image: write NAME@TAG, without a version and labels"));
        }
        Tag::new(name.parse().context(|| format!("{text:?} is not of the form NAME@TAG"))?, word)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.word)
    }
}

impl Store {
    fn tags_directory(&self) -> PathBuf {
        self.root().join("tags")
    }

    /// All tags that can be read, and the ids of their images.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tags(&self) -> Result<BTreeMap<Tag, ImageId>> {
        let read = |tag: Tag| self.tagged(&tag).ok().flatten().map(|id| (tag, id));
        Ok(self.tag_names()?.into_iter().filter_map(read).collect())
    }

    /// The ids of all images that have a tag.
    ///
    /// # Errors
    /// The store or a tag cannot be read, so that nobody knows which image has it.
    pub(super) fn tagged_images(&self) -> Result<HashSet<ImageId>> {
        let ids = self.tag_names()?.into_iter().filter_map(|tag| self.tagged(&tag).transpose());
        ids.collect()
    }

    /// All tags, whatever is in their files. A file there that is no tag is left out.
    fn tag_names(&self) -> Result<Vec<Tag>> {
        let directory = self.tags_directory();
        let what = || format!("cannot read {}", directory.display());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if is_missing(&e) => return Ok(Vec::new()),
            Err(e) => return Err(e).context(what),
        };
        let mut tags = Vec::new();
        for entry in entries {
            let name = entry.context(what)?.file_name();
            tags.extend(name.to_str().and_then(|name| name.replace('+', "/").parse::<Tag>().ok()));
        }
        Ok(tags)
    }

    /// The tags of the image called `id`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn tags_of(&self, id: &ImageId) -> Result<Vec<Tag>> {
        Ok(self.tags()?.into_iter().filter(|(_, tagged)| tagged == id).map(|(tag, _)| tag).collect())
    }

    /// The id of the image that has the tag, if one has.
    ///
    /// # Errors
    /// The tag's file cannot be read.
    pub fn tagged(&self, tag: &Tag) -> Result<Option<ImageId>> {
        let what = || format!("cannot read the tag {tag}");
        let text = match fs::read_to_string(self.tags_directory().join(tag.file())) {
            Ok(text) => text,
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(e).context(what),
        };
        let id: ImageId = text.trim_end().parse().context(what).map_err(|error| {
            let help = format!("set it anew, with `jetpack tag IMAGE {tag}`, or remove it with `jetpack untag {tag}`");
            error.help(help)
        })?;
        // A killed command may have removed the image and not its tags.
        Ok(self.image_directory(&id).exists().then_some(id))
    }

    /// Gives the image a tag; an image that has had it loses it. Gives that image's id.
    ///
    /// # Errors
    /// The image is called something else or has gone, or the disk fails or is full.
    pub fn tag(&self, image: &Image, tag: &Tag) -> Result<Option<ImageId>> {
        let (id, called) = (&image.id, &image.manifest.name);
        let what = || format!("cannot tag image {} as {tag}", id.short());
        if *called != tag.name {
            let why = Error::new(format!("the image is called {called}"));
            return Err(Error::with_source(what(), why).help(format!("a tag of it is {called}@{}", tag.word)));
        }
        // It stays until the tag keeps it.
        let _lock = self.use_images()?;
        self.read_image(id).context(what)?;
        // A tag that cannot be read is one that moves, too.
        let before = self.tagged(tag).ok().flatten();
        let directory = self.tags_directory();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(what)?;
        let staging = crate::storage::staging(self.root())?;
        let new = staging.path().join("tag");
        let mut file = File::create_new(&new).context(what)?;
        writeln!(file, "{id}").and_then(|()| file.sync_all()).context(what)?;
        fs::rename(&new, directory.join(tag.file())).context(what)?;
        Ok(before)
    }

    /// Removes a tag; its image stays.
    ///
    /// # Errors
    /// There is none (the help line lists those of that name), or the disk fails.
    pub fn untag(&self, tag: &Tag) -> Result<()> {
        if self.remove_tag(tag)? { Ok(()) } else { Err(self.no_tag(tag)) }
    }

    /// Removes a tag; gives whether it was there.
    pub(super) fn remove_tag(&self, tag: &Tag) -> Result<bool> {
        match fs::remove_file(self.tags_directory().join(tag.file())) {
            Ok(()) => Ok(true),
            Err(e) if is_missing(&e) => Ok(false),
            Err(e) => Err(e).context(|| format!("cannot remove the tag {tag}")),
        }
    }

    /// The error that says that there is no such tag.
    pub(super) fn no_tag(&self, tag: &Tag) -> Error {
        let others = self.tags().unwrap_or_default().into_keys().filter(|other| other.name == tag.name);
        let others: Vec<String> = others.map(|other| other.to_string()).collect();
        Error::new(format!("there is no tag {tag}")).help(match others.as_slice() {
            [] => format!("no image {} has a tag; `jetpack tag IMAGE TAG` gives one", tag.name),
            others => format!("there is {}", others.join(", ")),
        })
    }

    /// Removes the tags of images that are not there. Nobody may be using the store's images.
    pub(super) fn drop_stray_tags(&self) -> Result<()> {
        for tag in self.tag_names()? {
            if let Ok(None) = self.tagged(&tag) {
                self.remove_tag(&tag)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_names_and_words() {
        for good in ["a@b", "example.com/a/b-c@1.2_rc-3", "a@Latest"] {
            let tag: Tag = good.parse().unwrap();
            assert_eq!(tag.to_string(), good);
            assert_eq!(tag.file().replace('+', "/"), good);
            assert!(!tag.file().contains('/'));
        }
        let long = format!("a@{}", "x".repeat(129));
        let table = [
            ("a", "\"a\" is not of the form NAME@TAG"),
            ("A@b", "\"A@b\" is not of the form NAME@TAG"),
            ("@b", "\"@b\" is not of the form NAME@TAG"),
            ("a@", "\"\" is not a tag"),
            ("a@.b", "\".b\" is not a tag"),
            ("a@b/c", "\"b/c\" is not a tag"),
            ("a@b@c", "\"b@c\" is not a tag"),
            ("a@b,os=linux", "\"b,os=linux\" is not a tag"),
            ("a:1@b", "\"a:1@b\" has both a tag and a label"),
            (&long, &format!("{:?} is not a tag", "x".repeat(129))),
        ];
        for (bad, expected) in table {
            assert_eq!(bad.parse::<Tag>().unwrap_err().to_string(), expected);
        }
    }
}
