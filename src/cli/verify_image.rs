//! `jetpack verify-image`

use clap::Args;
use serde::Serialize;

use super::{Host, output};
use crate::appc::ImageId;
use crate::error::{Error, Result};
use crate::stage0::image::Image;
use crate::stage0::verify::Findings;

/// Compare images on the disk with what was sealed
///
/// The archive as it came must still have the image's id. It is unpacked once more, and what is on the disk must be that: every
/// file with its content, mode, owner, time and extended attributes. Images that the named ones depend on are compared, too.
#[derive(Debug, Args)]
pub(super) struct VerifyImage {
    /// The images: names[:version][,label=value…], names@tag, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// What was found, for programs.
#[derive(Serialize)]
struct Verified {
    id: ImageId,
    name: String,
    whole: bool,
    #[serde(flatten)]
    findings: Findings,
}

impl VerifyImage {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let named = self.images.iter().map(|reference| store.find_image(reference)).collect::<Result<Vec<Image>>>()?;
        let mut all = Vec::new();
        for image in store.with_dependencies(named)? {
            let findings = store.verify_image(&image)?;
            let name = image.manifest.name.to_string();
            let verified = Verified { id: image.id, name, whole: findings.is_empty(), findings };
            if !host.json() {
                verified.tell(host.global.quiet)?;
            }
            all.push(verified);
        }
        if host.json() {
            output::json(&all)?;
        }
        match all.iter().filter(|verified| !verified.whole).count() {
            0 => Ok(0),
            broken => Err(Error::new(format!("{broken} of {} images are not what was sealed", all.len())).help(
                "destroy such an image (`jetpack destroy-image`) and import it again; where its archive is whole, \
                 `jetpack export` gives that",
            )),
        }
    }
}

impl Verified {
    /// Says what is wrong, one thing a line; that nothing is, unless only problems are wanted.
    fn tell(&self, quiet: bool) -> Result<()> {
        let found = &self.findings;
        let mut lines: Vec<String> = Vec::new();
        lines.extend(found.archive.iter().map(|why| format!("the archive has rotted: {why}")));
        lines.extend(found.manifest.then(|| "the manifest is not the archive's".to_owned()));
        lines.extend(found.layers.then(|| "what is known of its layers is not so".to_owned()));
        lines.extend(found.missing_layers.iter().map(|layer| format!("missing layer {layer}")));
        lines.extend(found.missing.iter().map(|path| format!("missing {path}")));
        lines.extend(found.extra.iter().map(|path| format!("extra {path}")));
        lines.extend(
            found.changed.iter().map(|changed| format!("changed {} ({})", changed.path, changed.differs.join(", "))),
        );
        if lines.is_empty() && !quiet {
            lines.push("whole".to_owned());
        }
        let line =
            |line: &String| output::escape(&format!("{} ({}): {line}", self.id.short(), self.name)).into_owned() + "\n";
        output::print(&lines.iter().map(line).collect::<String>())
    }
}
