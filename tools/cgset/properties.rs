//! What holds for every input: parsers never fail badly, and what is translated comes back.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Component;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::device::tests::allows;
use crate::device::{Access, Policy};
use crate::group::Name;
use crate::key::{Setting, check_name};
use crate::value::{Unit, Value, parse_list};
use crate::{owner, v1};

const UNITS: [Unit; 9] = [
    Unit::Bytes,
    Unit::Count,
    Unit::Bandwidth,
    Unit::Weight,
    Unit::List,
    Unit::Switch,
    Unit::IoLimits,
    Unit::IoWeight,
    Unit::Raw,
];

/// Text that resembles values more than noise does.
fn valuelike() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[-+0-9.,:/%maxKMGTPiB =]{0,20}",
        "[0-9]{1,3}:[0-9]{1,3} [rw](bps|iops)=[0-9]{1,9}[KMG]?"
    ]
}

/// A file of a v1 group that v2's keys are translated to, as the kernel begins it.
const V1_FILES: [(&str, &str); 9] = [
    ("memory.limit_in_bytes", "9223372036854771712"),
    ("memory.memsw.limit_in_bytes", "9223372036854771712"),
    ("memory.soft_limit_in_bytes", "9223372036854771712"),
    ("cpu.cfs_quota_us", "-1"),
    ("cpu.cfs_period_us", "100000"),
    ("cpu.shares", "1024"),
    ("blkio.bfq.weight", "100"),
    ("pids.max", "max"),
    ("freezer.self_freezing", "0"),
];

/// Sets a v2 key in a directory of plain files that stands for a v1 group, and reads it back.
fn through_v1(settings: &[&str]) -> Vec<String> {
    let group = tempfile::tempdir().unwrap();
    for (file, text) in V1_FILES {
        fs::write(group.path().join(file), text).unwrap();
    }
    for text in settings {
        for write in v1::writes(group.path(), &Setting::parse(text).unwrap()).unwrap() {
            // The kernel shows no limit as its largest number of pages.
            let text = if write.text == "-1" && write.file.starts_with("memory") {
                V1_FILES[0].1
            } else {
                &write.text
            };
            fs::write(group.path().join(write.file), text).unwrap();
        }
    }
    let key = |text: &&str| text.split('=').next().unwrap().to_owned();
    settings.iter().map(|text| v1::read(group.path(), &key(text)).unwrap().unwrap()).collect()
}

proptest! {
    #[test]
    fn a_value_that_was_understood_is_understood_again(text in valuelike()) {
        for unit in UNITS {
            if let Ok(value) = Value::parse(unit, &text) {
                prop_assert_eq!(Value::parse(unit, &value.to_string()).unwrap(), value);
            }
        }
    }

    #[test]
    fn a_setting_never_names_a_file_elsewhere(text in any::<String>()) {
        if let Ok(setting) = Setting::parse(&text) {
            prop_assert!(check_name(&setting.key).is_ok());
            prop_assert!(!setting.key.contains('/') && setting.key != ".." && !setting.key.is_empty());
        }
    }

    #[test]
    fn a_group_never_leads_out_of_its_hierarchy(bytes in vec(prop_oneof![any::<u8>(), Just(b'/'), Just(b'.')], 0..40)) {
        if let Ok(Name::FromTop(path) | Name::FromOwn(path)) = Name::parse(OsStr::from_bytes(&bytes)) {
            prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }

    #[test]
    fn a_list_comes_back(list in btree_set(0u32..4096, 0..40)) {
        let text = Value::List(list.clone()).to_string();
        prop_assert_eq!(parse_list(&text), Some(list));
    }

    #[test]
    fn an_owner_is_read_or_refused(text in "[0-9:x-]{0,14}") {
        let _ = owner::Owner::parse(&text);
    }

    #[test]
    fn a_device_rule_is_read_or_refused(text in prop_oneof![any::<String>(), "[abcx/] ?[0-9*]{0,3}:?[0-9*]{0,3} ?[rwmx]{0,3}"]) {
        if let Ok(Some(policy)) = Policy::parse(&[text], None) {
            let again: Vec<_> = policy.rules.iter().flat_map(|rule| rule.written()).collect();
            let read = Policy::parse(&again, None).unwrap().unwrap();
            prop_assert_eq!(read.rules.iter().flat_map(|rule| rule.written()).collect::<Vec<_>>(), again);
        }
    }

    #[test]
    fn memory_limits_come_back_from_v1(max in 1u64..1 << 50, swap in 0u64..1 << 50) {
        let settings = [format!("memory.max={max}"), format!("memory.swap.max={swap}"), format!("memory.low={max}")];
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        prop_assert_eq!(through_v1(&settings), [max.to_string(), swap.to_string(), max.to_string()]);
    }

    #[test]
    fn memory_keeps_its_swap_when_its_own_limit_moves(old in 1u64..1 << 50, swap in 0u64..1 << 50, new in 1u64..1 << 50) {
        let settings = [format!("memory.max={old}"), format!("memory.swap.max={swap}"), format!("memory.max={new}")];
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        prop_assert_eq!(through_v1(&settings), [new.to_string(), swap.to_string(), new.to_string()]);
    }

    #[test]
    fn cpu_settings_come_back_from_v1(quota in 1000u64..1 << 40, period in 1000u64..=1_000_000, weight in 1u64..=10_000) {
        let settings = [format!("cpu.max={quota} {period}"), format!("cpu.weight={weight}")];
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        prop_assert_eq!(through_v1(&settings), [format!("{quota} {period}"), weight.to_string()]);
    }

    #[test]
    fn disk_limits_come_back_from_v1(minor in 0u32..256, rbps in 1u64..1 << 40, wiops in 1u64..1 << 30) {
        let setting = format!("io.max=8:{minor} rbps={rbps} wiops={wiops}");
        let wanted = format!("8:{minor} rbps={rbps} wbps=max riops=max wiops={wiops}");
        prop_assert_eq!(through_v1(&[&setting]), [wanted]);
    }

    #[test]
    fn a_policy_allows_what_a_rule_allows_and_nothing_else(
        rules in vec(("[abc]", prop::option::of(0u32..4), prop::option::of(0u32..4), 1u8..8), 0..6),
        kind in 1i32..=2, major in 0i32..4, minor in 0i32..4, access in 1u8..8,
    ) {
        // bits as the kernel has them: 1 mknod, 2 read, 4 write
        let letters = |bits: u8| [(1, 'm'), (2, 'r'), (4, 'w')].iter().filter(|(bit, _)| bits & bit != 0).map(|(_, c)| *c).collect::<String>();
        let number = |n: &Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let rules: Vec<_> = rules.into_iter().map(|(kind, a, b, bits)| if kind == "a" { (kind, None, None, bits) } else { (kind, a, b, bits) }).collect();
        let texts: Vec<_> = rules.iter().map(|(kind, a, b, bits)| format!("{kind} {}:{} {}", number(a), number(b), letters(*bits))).collect();
        let policy = Policy::parse(&texts, Some(Access::Deny)).unwrap().unwrap();
        let fits = |(k, a, b, _): &&(String, Option<u32>, Option<u32>, u8)| {
            (k == "a" || (k == "b") == (kind == 1))
                && a.is_none_or(|a| a as i32 == major)
                && b.is_none_or(|b| b as i32 == minor)
        };
        // Of the rules for the same devices, what they allow together.
        let all_of = |one: &&(String, Option<u32>, Option<u32>, u8)| {
            rules.iter().filter(|r| (&r.0, r.1, r.2) == (&one.0, one.1, one.2)).fold(0, |bits, rule| bits | rule.3)
        };
        let allowed = rules.iter().filter(fits).any(|rule| access & !all_of(&rule) == 0);
        prop_assert_eq!(allows(&policy, kind, major, minor, access), allowed);
    }
}

#[test]
fn a_set_and_its_text_agree_on_emptiness() {
    assert_eq!(parse_list(""), Some(BTreeSet::new()));
}
