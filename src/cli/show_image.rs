//! `jetpack show-image`

use clap::Args;

use super::images::{Shown, or_dash, platform};
use super::{Host, output};
use crate::appc::{ImageId, timestamp};
use crate::error::Result;
use crate::stage0::image::Image;
use crate::stage0::keystore::{Signer, Trust};
use crate::stage0::tags::Tag;

/// Show what the store knows of an image
#[derive(Debug, Args)]
pub(super) struct ShowImage {
    /// The image: a name[:version][,label=value…], a name@tag, an id, or the beginning of one
    image: String,
}

impl ShowImage {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let image = store.find_image(&self.image)?;
        let tags = store.tags_of(&image.id)?;
        if host.json() {
            output::json(&Shown::new(&image, &tags))?;
        } else {
            let named = |id: &ImageId| {
                // One that cannot be read has its id.
                let name = store.read_image(id).map(|image| image.manifest.name.to_string());
                name.map_or_else(|_| id.short().to_owned(), |name| format!("{name} ({})", id.short()))
            };
            let dependencies: Vec<String> = image.record.dependencies.iter().map(named).collect();
            output::fields(&describe(&image, &tags, &dependencies.join(", ")))?;
        }
        Ok(0)
    }
}

fn describe(image: &Image, tags: &[Tag], dependencies: &str) -> Vec<(&'static str, String)> {
    let record = &image.record;
    let command = image.manifest.app.as_ref().map_or("(none: a console)".to_owned(), |app| app.exec.join(" "));
    let setuid = record.setuid.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let tags: Vec<&str> = tags.iter().map(Tag::word).collect();
    let signature = match &record.trust {
        Trust::Unsigned => "none (allowed by the person who imported it)".to_owned(),
        Trust::Built => "none (built here)".to_owned(),
        Trust::Signed(signers) => signers.iter().map(signed_by).collect::<Vec<_>>().join("; "),
    };
    vec![
        ("id", image.id.to_string()),
        ("name", image.manifest.name.to_string()),
        ("version", or_dash(image.version())),
        ("tags", or_dash(&tags.join(" "))),
        ("for", platform(image)),
        ("depends on", or_dash(dependencies)),
        ("command", command),
        ("size", output::bytes(record.size)),
        ("files", record.files.to_string()),
        ("archive", format!("{}, {}", output::bytes(record.archive_size), record.compression)),
        ("imported", format!("{} from {}", output::ago(output::moment(record.imported)), record.origin)),
        ("signature", signature),
        ("setuid", or_dash(&setuid.join(" "))),
    ]
}

fn signed_by(signer: &Signer) -> String {
    format!("by {signer} on {}", timestamp(signer.signed))
}
