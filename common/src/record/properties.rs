//! What holds for every record: no input makes the parser panic, and what it accepts it hands on.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;

/// Names, with what leads somewhere else or is none among them.
fn name() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => "[a-z]{1,4}(/[a-z.]{1,3})?".prop_map(Value::from),
        1 => "[a./\u{0}]{0,6}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        2 => vec(1u16..260, 0..5).prop_map(Value::from),
    ]
}

/// Any JSON.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        name(),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An object of these keys, each there or not; now and then with a value of any kind.
fn object(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let entries: Vec<_> = keys
        .into_iter()
        .map(|(key, value)| {
            let value = prop_oneof![40 => value, 1 => json().boxed()];
            proptest::option::weighted(0.9, value).prop_map(move |value| Some((key.to_owned(), value?)))
        })
        .collect();
    (entries, proptest::option::weighted(0.1, ("[a-z]{1,9}", json()))).prop_map(|(known, unknown)| {
        Value::Object(unknown.into_iter().chain(known.into_iter().flatten()).collect())
    })
}

fn one_of(texts: &'static [&'static str]) -> BoxedStrategy<Value> {
    proptest::sample::select(texts).prop_map(Value::from).boxed()
}

/// What resembles a record.
fn record() -> impl Strategy<Value = Value> {
    let names = || vec(name(), 0..3).prop_map(Value::from).boxed();
    let number = || prop_oneof![20 => 1u64..1 << 31, 1 => any::<u64>()].prop_map(Value::from).boxed();
    let switch = any::<bool>().prop_map(Value::from).boxed();
    let namespaces = ["user", "mnt", "time"].map(|kind| (kind, number())).into();
    let cgroup = vec![("path", name().boxed()), ("version", one_of(&["v1", "v2", "hybrid"]))];
    let mut rootfs = ["merged", "upper", "work", "init"].map(|key| (key, name().boxed())).to_vec();
    rootfs.extend([("lower", names()), ("ephemeral", switch)]);
    let method = one_of(&["pivot_root", "move", "chroot"]);
    let root = vec![("path", name().boxed()), ("method", method), ("environment", names())];
    object(vec![
        ("pid", number()),
        ("start_time", number()),
        ("namespaces", object(namespaces).boxed()),
        ("cgroup", object(cgroup).boxed()),
        ("rootfs", object(rootfs).boxed()),
        ("root", object(root).boxed()),
    ])
}

fn read(text: &[u8]) -> Result<Record> {
    Record::from_reader(text, "test")
}

/// Takes all that it says, and sets it again.
fn set_again(record: &Record) -> Record {
    let mut again = record.clone();
    if let Some(cgroup) = record.cgroup() {
        again.set_cgroup(&cgroup);
    }
    if let Some(rootfs) = record.rootfs() {
        again.set_rootfs(&rootfs);
    }
    if let Some(root) = record.root() {
        again.set_root(&root);
    }
    again
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(text in vec(any::<u8>(), 0..60)) {
        let _ = read(&text);
    }

    #[test]
    fn a_damaged_record_is_refused_or_read(record in record(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut text = record.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(record) = read(&text) {
            set_again(&record);
        }
    }

    #[test]
    fn what_is_accepted_is_written_back_the_same(value in prop_oneof![record(), json()]) {
        if let Ok(record) = read(value.to_string().as_bytes()) {
            let written = Value::Object(record.keys.clone());
            prop_assert_eq!(&written, &value);
            prop_assert_eq!(written.to_string(), value.to_string());
        }
    }

    #[test]
    fn what_a_record_says_can_be_set_again(value in record()) {
        if let Ok(record) = read(value.to_string().as_bytes()) {
            let again = set_again(&record);
            prop_assert!(again.check().is_ok());
            prop_assert_eq!(again.cgroup(), record.cgroup());
            prop_assert_eq!(again.rootfs(), record.rootfs());
            prop_assert_eq!(again.root(), record.root());
            prop_assert_eq!(again.namespaces(), record.namespaces());
        }
    }

    #[test]
    fn a_cgroup_never_leads_out_of_its_hierarchy(path in name()) {
        let text = json!({ "cgroup": { "path": path, "version": "v2" } }).to_string();
        if let Ok(record) = read(text.as_bytes()) {
            let path = record.cgroup().unwrap().path;
            prop_assert!(path.components().count() > 0);
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        }
    }
}

#[test]
fn enough_of_them_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tried = (0..300).filter_map(|_| record().new_tree(&mut runner).ok());
    let accepted = tried.filter(|tree| read(tree.current().to_string().as_bytes()).is_ok()).count();
    assert!(accepted >= 30, "only {accepted} of 300 are records");
}
