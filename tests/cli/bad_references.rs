//! Names of images and pods that fit nothing, or too much.

use super::{versioned, with_script};
use crate::support::command::Jetpack;

/// The commands that take one image.
const OF_IMAGES: [&str; 5] = ["show-image", "image-manifest", "destroy-image", "prepare", "run"];

/// The commands that take a pod and nothing else.
const OF_PODS: [&str; 2] = ["manifest", "destroy"];

#[test]
fn an_image_that_is_not_there() {
    let jetpack = Jetpack::fake();
    jetpack.import(&versioned("example.com/app", "1"));
    let before = jetpack.contents();
    let long = format!("sha512-{}", "0".repeat(128));
    for reference in
        ["other", "example.com/app:2", "example.com/app,os=freebsd", "example.com", "0123456789", "", &long]
    {
        for command in OF_IMAGES {
            // These would look for it elsewhere.
            let pull = if matches!(command, "prepare" | "run") { &["--pull", "never"][..] } else { &[] };
            let words = [command].into_iter().chain(pull.iter().copied()).chain([reference]);
            let said = jetpack.run(words).failure(125);
            let expected = format!(
                "jetpack: there is no image {reference:?}\nhelp: `jetpack images` lists those that are here; \
                 `jetpack import FILE` brings one in\n"
            );
            assert_eq!(said, expected, "{command}");
        }
    }
    let said = jetpack.run(["show-image", "example.com/app,linux"]).failure(125);
    assert!(said.contains("\"linux\" in the image reference \"example.com/app,linux\" is no label\nhelp: "), "{said}");
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn an_ambiguous_image_lists_the_candidates() {
    let jetpack = Jetpack::fake();
    let ids = [versioned("a", "1"), versioned("b", "1")].map(|archive| jetpack.import(&archive));
    let before = jetpack.contents();
    for command in OF_IMAGES {
        let said = jetpack.run([command, "sha512-"]).failure(125);
        assert!(said.starts_with("jetpack: \"sha512-\" fits several images: "), "{command}: {said}");
        assert!(said.ends_with("\nhelp: give more of the id\n"), "{command}: {said}");
        for (id, name) in ids.iter().zip(["a", "b"]) {
            assert!(said.contains(&format!("{} ({name})", &id[..19])), "{command}: {said}");
        }
    }
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn what_is_a_name_and_the_beginning_of_an_id_lists_both() {
    let jetpack = Jetpack::fake();
    let one = jetpack.import(&versioned("a", "1"));
    let called = &one["sha512-".len()..][..12];
    let other = jetpack.import(&versioned(called, "1"));
    for command in OF_IMAGES {
        let said = jetpack.run([command, called]).failure(125);
        let expected = format!(
            "fits several images: {} (a), {} ({called})\nhelp: give more of the id\n",
            &one[..19],
            &other[..19]
        );
        assert!(said.ends_with(&expected), "{command}: {said}");
    }
    assert!(jetpack.run(["show-image", &one]).success().stdout.contains(&one));
}

#[test]
fn a_pod_that_is_not_there() {
    let jetpack = with_script("exit 0");
    let before = jetpack.contents();
    let unknown = "00000000-0000-4000-8000-000000000000";
    for reference in [unknown, "0000", "", "../images", "x"] {
        for command in ["manifest", "destroy"] {
            let said = jetpack.run([command, reference]).failure(125);
            let expected =
                format!("jetpack: there is no pod {reference:?}\nhelp: `jetpack list` shows those that are here\n");
            assert_eq!(said, expected, "{command}");
        }
    }
    jetpack.run(["run", unknown]).failure(125);
    assert_eq!(jetpack.contents(), before);
}

/// Makes a pod and gives it this UUID.
fn pod_called(jetpack: &Jetpack, uuid: &str) {
    let made = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    for folder in ["state/prepared", "pods"] {
        let folder = jetpack.store().join(folder);
        std::fs::rename(folder.join(&made), folder.join(uuid)).expect("the pod's directory");
    }
}

#[test]
fn an_ambiguous_pod_lists_the_candidates() {
    let jetpack = with_script("exit 0");
    let pods = ["11111111-0000-4000-8000-000000000000", "11112222-0000-4000-8000-000000000000"];
    pods.iter().for_each(|uuid| pod_called(&jetpack, uuid));
    let before = jetpack.contents();
    let expected =
        format!("jetpack: \"1111\" fits several pods: {}, {}\nhelp: give more of the UUID\n", pods[0], pods[1]);
    for command in OF_PODS {
        assert_eq!(jetpack.run([command, "1111"]).failure(125), expected, "{command}");
    }
    let expected = format!("jetpack: \"1111\" fits several: pod {}, pod {}\nhelp: give more of it\n", pods[0], pods[1]);
    assert_eq!(jetpack.run(["run", "1111"]).failure(125), expected);
    assert_eq!(jetpack.contents(), before);
    // What is enough is enough.
    jetpack.run(["run", "11112"]).success();
    jetpack.run(["destroy", "11111"]).success();
    assert_eq!(jetpack.run(["-q", "list"]).success().stdout, format!("{}\n", pods[1]));
}

#[test]
fn what_fits_a_pod_and_an_image_is_not_guessed() {
    const UUID: &str = "11111111-0000-4000-8000-000000000000";
    let jetpack = with_script("exit 0");
    jetpack.import(&versioned("1111", "1"));
    pod_called(&jetpack, UUID);
    let said = jetpack.run(["run", "1111"]).failure(125);
    let start = format!("jetpack: \"1111\" fits several: pod {UUID}, image sha512-");
    assert!(
        said.starts_with(&start)
            && said.ends_with(
                " (1111)
help: give more of it
"
            ),
        "{said}"
    );
    jetpack.run(["run", UUID]).success();
}
