//! The options themselves: each of util-linux's is ours as well, by the same letter, or is left out with a reason.

use std::collections::BTreeMap;

use crate::common::{Need, Scene, needs, stdout};
use crate::differences::{LEFT_OUT, NEWER};

/// The long options of a `--help`, each with its letter.
fn options(scene: &Scene, tool: &str) -> BTreeMap<String, Option<char>> {
    let help = stdout(&scene.sh(&format!("{tool} --help")).assert().success());
    let name =
        |text: &str| -> String { text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect() };
    let of_line = |line: &str| -> Option<(String, Option<char>)> {
        // Further in stands the text of the option before, which may name others.
        let line =
            line.get(..line.len().min(7)).filter(|head| head.contains('-')).map(|_| line.trim_start())?;
        if let Some(long) = line.strip_prefix("--") {
            return Some((name(long), None));
        }
        // "-W. --wdns" is how 2.38 has it.
        let (short, long) = line.split_once(" --")?;
        let letter = short.strip_prefix('-')?.trim_end_matches([',', '.']);
        let mut letters = letter.chars();
        Some((name(long), Some(letters.next().filter(|_| letters.next().is_none())?)))
    };
    help.lines().filter_map(of_line).collect()
}

#[test]
fn every_option_of_util_linux_is_ours_by_the_same_letter_or_left_out_for_a_reason() {
    if !needs(&[Need::Program("unshare"), Need::Program("nsenter")]) {
        return;
    }
    let scene = Scene::new();
    for tool in ["unshare", "nsenter"] {
        let (theirs, ours) = (options(&scene, tool), options(&scene, &format!("{tool}-lite")));
        assert!(theirs.len() > 15 && ours.len() > 15, "{theirs:?} {ours:?}");
        for (option, letter) in &theirs {
            let reason = LEFT_OUT.iter().find(|(of, name, _)| *of == tool && name == option);
            match ours.get(option) {
                Some(our_letter) => {
                    // Ours says -V by its long name alone: a letter of its own is --verbose's.
                    assert!(letter == our_letter || option == "version", "{tool} --{option}");
                    assert!(reason.is_none(), "{tool} --{option} is ours, and yet left out: {reason:?}");
                }
                None => assert!(reason.is_some(), "{tool} --{option} is not ours, and nobody says why"),
            }
        }
        for (option, letter) in ours.iter().filter(|(option, _)| !theirs.contains_key(*option)) {
            let taken = theirs.iter().find(|(_, theirs)| letter.is_some() && *theirs == letter);
            assert_eq!(taken, None, "{tool}-lite --{option}: its letter means something else to {tool}");
        }
    }
    let nsenter = options(&scene, "nsenter-lite");
    for (option, _) in NEWER {
        assert!(nsenter.contains_key(&option[2..]), "{option}");
    }
}
