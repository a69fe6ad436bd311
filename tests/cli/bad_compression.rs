//! Archives that end early or are damaged, in every compression.

use super::bad_archives::refusal;
use crate::support::archive::{Archive, compressed, manifest};

const ALL: [&str; 5] = ["none", "gzip", "xz", "bzip2", "zstd"];

/// An image with a file that does not compress to nothing.
fn image() -> Vec<u8> {
    let noise: Vec<u8> = (0_u32..40_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Archive::with_manifest(&manifest("a", None)).file("rootfs/noise", 0o644, &noise).finish()
}

/// The causes that may be named: which one depends on where the compressor put its blocks.
fn is_clear(said: &str) -> bool {
    ["truncated", "is not a tar archive", "cannot decompress", "damaged", "goes on after its end"]
        .iter()
        .any(|cause| said.contains(cause))
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_was_cut() {
    let tar = image();
    for compression in ALL {
        let bytes = compressed(compression, &tar);
        // A plain archive may do without its last block of zeroes, but not without the one before it.
        let end = if compression == "none" { bytes.len() - 1024 } else { bytes.len() - 1 };
        for cut in [5, 100, 600, bytes.len() / 4, bytes.len() / 2, bytes.len() * 3 / 4, end] {
            let said = refusal(&bytes[..cut]);
            assert!(is_clear(&said), "{compression} cut at {cut} of {}: {said}", bytes.len());
        }
    }
}

#[test]
fn a_corrupt_archive_is_refused_wherever_it_was_hit() {
    let tar = image();
    for compression in &ALL[1..] {
        let good = compressed(compression, &tar);
        for hit in [good.len() / 4, good.len() / 2, good.len() * 3 / 4] {
            let mut bytes = good.clone();
            bytes[hit..hit + 16].iter_mut().for_each(|byte| *byte ^= 0x5a);
            let said = refusal(&bytes);
            assert!(is_clear(&said), "{compression} hit at {hit} of {}: {said}", bytes.len());
        }
        let said = refusal(&[good, b"and something after the end".repeat(30)].concat());
        assert!(is_clear(&said), "{compression}: {said}");
    }
}

#[test]
fn a_plain_archive_has_sums_in_its_headers() {
    let good = image();
    // The header of the second entry; contents have no sums of their own, but the id does not fit them any more.
    let mut bytes = good.clone();
    bytes[1024 + 10] ^= 1;
    assert!(refusal(&bytes).starts_with("the archive is damaged: no header after manifest"), "a flipped bit");
    let said = refusal(&[&good[..], &good[..]].concat());
    assert_eq!(said, "the archive goes on after its end-of-archive marker");
}
