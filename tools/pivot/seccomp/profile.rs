//! The profile as it is written: JSON in Docker's format, which containers-common shares.

use std::collections::BTreeMap;
use std::path::Path;

use common::capability::CapabilitySet;
use common::{During as _, Error, Result};
use serde_json::Value;

use super::rules::{Action, Architecture, Comparison, Condition, Decision, Table};

/// A profile, checked, with its conditions on capabilities, architecture and kernel still open.
#[derive(Debug, PartialEq)]
pub struct Profile {
    default: Action,
    architectures: Vec<Architecture>,
    rules: Vec<Rule>,
    flags: u32,
}

#[derive(Debug, PartialEq)]
struct Rule {
    names: Vec<String>,
    action: Action,
    conditions: Vec<Condition>,
    includes: Filter,
    excludes: Filter,
}

/// When a rule counts, or does not.
#[derive(Debug, Default, PartialEq)]
struct Filter {
    capabilities: Vec<CapabilitySet>,
    architectures: Vec<String>,
    kernel: Option<(u32, u32)>,
}

/// Larger than any profile; a profile is the caller's own file, but a wrong one may be named.
const LIMIT: u64 = 4 << 20;

type Parsed<T> = std::result::Result<T, String>;

impl Profile {
    /// Reads the profile in `file`.
    pub fn read(file: &Path) -> Result<Self> {
        let step = "read the seccomp profile";
        let metadata = std::fs::metadata(file).during(step, file)?;
        if metadata.is_file() && metadata.len() > LIMIT {
            return Err(Error::new(step, file, "it is larger than 4 MiB"));
        }
        Self::parse(&std::fs::read(file).during(step, file)?, file)
    }

    pub(super) fn parse(text: &[u8], file: &Path) -> Result<Self> {
        let step = "read the seccomp profile";
        let value: Value =
            serde_json::from_slice(text).map_err(|error| error.to_string()).during(step, file)?;
        profile(&value).during(step, file)
    }

    pub(super) fn flags(&self) -> u32 {
        self.flags
    }

    /// What it decides for a process that has `have`, for each architecture that the kernel may run.
    pub(super) fn tables(&self, native: Architecture, have: CapabilitySet, kernel: (u32, u32)) -> Vec<Table> {
        let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.counts(native, have, kernel)).collect();
        let compat = self.architectures.iter().copied().filter(|one| one.is_compat_of(native));
        std::iter::once(native).chain(compat.take(1)).map(|one| self.table(one, &rules)).collect()
    }

    fn table(&self, architecture: Architecture, rules: &[&Rule]) -> Table {
        let mut decisions: BTreeMap<u32, Decision> = BTreeMap::new();
        let mut unconditional: BTreeMap<u32, Action> = BTreeMap::new();
        for rule in rules {
            // A name that this architecture does not have cannot be called.
            for number in rule.names.iter().filter_map(|name| architecture.number_of(name)) {
                let decision = decisions.entry(number).or_insert_with(|| Decision::always(self.default));
                for conditions in rule.alternatives() {
                    decision.if_all.push((conditions, rule.action));
                }
                if rule.conditions.is_empty() {
                    let before = unconditional.entry(number).or_insert(rule.action);
                    // Of two that contradict each other, the stricter one.
                    if rule.action.severity() < before.severity() {
                        *before = rule.action;
                    }
                }
            }
        }
        for (number, action) in unconditional {
            if let Some(decision) = decisions.get_mut(&number) {
                decision.otherwise = action;
            }
        }
        Table { architecture, decisions, default: self.default }
    }
}

impl Rule {
    fn counts(&self, native: Architecture, have: CapabilitySet, kernel: (u32, u32)) -> bool {
        let has = |one: &CapabilitySet| one.difference(have).is_empty();
        let is_native = |name: &String| name == native.go_name();
        let Self { includes, excludes, .. } = self;
        includes.capabilities.iter().all(has)
            && (includes.architectures.is_empty() || includes.architectures.iter().any(is_native))
            && includes.kernel.is_none_or(|least| kernel >= least)
            && !excludes.capabilities.iter().any(has)
            && !excludes.architectures.iter().any(is_native)
            && excludes.kernel.is_none_or(|least| kernel < least)
    }

    /// Conditions that must hold together. As runc has it, conditions on one argument are
    /// alternatives: they could hardly hold all at once.
    fn alternatives(&self) -> Vec<Vec<Condition>> {
        let twice = self.conditions.iter().enumerate().any(|(index, one)| {
            self.conditions[..index].iter().any(|before| before.argument == one.argument)
        });
        match &self.conditions[..] {
            [] => Vec::new(),
            conditions if twice => conditions.iter().map(|one| vec![*one]).collect(),
            conditions => vec![conditions.to_vec()],
        }
    }
}

fn profile(value: &Value) -> Parsed<Profile> {
    let default_errno = errno(value, "defaultErrnoRet")?;
    let default = action(value, "defaultAction", default_errno)?;
    let rules = match value.get("syscalls") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(rules)) => rules.iter().map(rule).collect::<Parsed<_>>()?,
        Some(_) => return Err("syscalls is not an array".into()),
    };
    Ok(Profile { default, architectures: architectures(value)?, rules, flags: flags(value)? })
}

/// `architectures`, or the entry of `archMap` that is for this one.
fn architectures(value: &Value) -> Parsed<Vec<Architecture>> {
    let mut names = strings(value, "architectures")?;
    for entry in value.get("archMap").and_then(Value::as_array).into_iter().flatten() {
        let name = entry.get("architecture").and_then(Value::as_str).ok_or("archMap without architecture")?;
        if Architecture::named(name).is_some_and(|one| Some(one) == Architecture::native()) {
            names.extend(strings(entry, "subArchitectures")?);
        }
    }
    Ok(names.iter().filter_map(|name| Architecture::named(name)).collect())
}

fn flags(value: &Value) -> Parsed<u32> {
    strings(value, "flags")?.iter().try_fold(0, |flags, name| match name.as_str() {
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | 2),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | 4),
        // There is one thread.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags),
        other => Err(format!("no such flag: {other}")),
    })
}

fn rule(value: &Value) -> Parsed<Rule> {
    let mut names = strings(value, "names")?;
    // The older form has one name a rule.
    names.extend(value.get("name").and_then(Value::as_str).map(str::to_owned));
    if names.is_empty() {
        return Err("a rule without names".into());
    }
    let errno = errno(value, "errnoRet")?;
    let conditions = match value.get("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(conditions)) => conditions.iter().map(condition).collect::<Parsed<_>>()?,
        Some(_) => return Err("args is not an array".into()),
    };
    Ok(Rule {
        action: action(value, "action", errno)?,
        conditions,
        includes: filter(value.get("includes"))?,
        excludes: filter(value.get("excludes"))?,
        names,
    })
}

fn filter(value: Option<&Value>) -> Parsed<Filter> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Filter::default()) };
    let kernel = match value.get("minKernel") {
        None => None,
        Some(text) => Some(text.as_str().and_then(version).ok_or("minKernel is not a kernel version")?),
    };
    let capabilities = strings(value, "caps")?;
    let capabilities = capabilities
        .iter()
        .map(|name| CapabilitySet::named(name).ok_or(format!("no such capability: {name}")));
    Ok(Filter {
        capabilities: capabilities.collect::<Parsed<_>>()?,
        architectures: strings(value, "arches")?,
        kernel,
    })
}

fn action(value: &Value, key: &str, errno: Option<u16>) -> Parsed<Action> {
    let name = value.get(key).and_then(Value::as_str).ok_or_else(|| format!("no {key}"))?;
    match name {
        "SCMP_ACT_ALLOW" => Ok(Action::ALLOW),
        "SCMP_ACT_LOG" => Ok(Action::LOG),
        "SCMP_ACT_ERRNO" => Ok(Action::errno(errno.unwrap_or(nix::errno::Errno::EPERM as u16))),
        "SCMP_ACT_TRACE" => Ok(Action::trace(errno.unwrap_or(nix::errno::Errno::EPERM as u16))),
        "SCMP_ACT_TRAP" => Ok(Action::TRAP),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(Action::KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(Action::KILL_PROCESS),
        "SCMP_ACT_NOTIFY" => Err("SCMP_ACT_NOTIFY takes an agent, which there is none of".into()),
        other => Err(format!("no such action: {other}")),
    }
}

/// The kernel takes errnos up to 4095.
fn errno(value: &Value, key: &str) -> Parsed<Option<u16>> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(number) => match number.as_u64().and_then(|number| u16::try_from(number).ok()) {
            Some(number @ 0..=4095) => Ok(Some(number)),
            _ => Err(format!("{key} is not an errno")),
        },
    }
}

fn condition(value: &Value) -> Parsed<Condition> {
    let number = |key: &str| match value.get(key) {
        None => Ok(0),
        Some(number) => number.as_u64().ok_or(format!("{key} is not a number")),
    };
    let argument = number("index")?;
    let (first, second) = (number("value")?, number("valueTwo")?);
    let comparison = match value.get("op").and_then(Value::as_str).unwrap_or_default() {
        "SCMP_CMP_EQ" => Comparison::Equal(first),
        "SCMP_CMP_NE" => Comparison::NotEqual(first),
        "SCMP_CMP_LT" => Comparison::Less(first),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(first),
        "SCMP_CMP_GT" => Comparison::Greater(first),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(first),
        "SCMP_CMP_MASKED_EQ" => Comparison::Masked { mask: first, value: second },
        other => return Err(format!("no such comparison: {other}")),
    };
    let argument = u8::try_from(argument).ok().filter(|argument| *argument < 6);
    Ok(Condition { argument: argument.ok_or("a system call has arguments 0 to 5")?, comparison })
}

/// `MAJOR.MINOR`, whatever follows.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn strings(value: &Value, key: &str) -> Parsed<Vec<String>> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| format!("{key} holds what is no string"))
        }
        Some(_) => Err(format!("{key} is not an array")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NATIVE: Architecture = Architecture::X86_64;

    fn decision(rules: Value, have: CapabilitySet, name: &str) -> Decision {
        let value = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": rules });
        let tables = profile(&value).unwrap().tables(NATIVE, have, (6, 1));
        let number = NATIVE.number_of(name).unwrap();
        tables[0].decisions.get(&number).cloned().unwrap_or_else(|| Decision::always(tables[0].default))
    }

    #[test]
    fn what_no_rule_names_gets_the_default() {
        assert_eq!(decision(json!([]), CapabilitySet::EMPTY, "mkdir"), Decision::always(Action::errno(38)));
    }

    #[test]
    fn rules_count_by_capability_architecture_and_kernel() {
        let chroot = CapabilitySet::named("CAP_SYS_CHROOT").unwrap();
        let rules = |includes: Value, excludes: Value| json!([{ "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": includes, "excludes": excludes }]);
        for (includes, excludes, have, counts) in [
            (json!({ "caps": ["CAP_SYS_CHROOT"] }), json!({}), chroot, true),
            (json!({ "caps": ["CAP_SYS_CHROOT"] }), json!({}), CapabilitySet::EMPTY, false),
            (json!({}), json!({ "caps": ["CAP_SYS_CHROOT"] }), chroot, false),
            (json!({ "arches": ["amd64"] }), json!(null), chroot, true),
            (json!({ "arches": ["arm64"] }), json!(null), chroot, false),
            (json!({ "minKernel": "4.8" }), json!(null), chroot, true),
            (json!({ "minKernel": "6.2" }), json!(null), chroot, false),
            (json!({}), json!({ "minKernel": "4.8" }), chroot, false),
        ] {
            let expected = if counts { Action::ALLOW } else { Action::errno(38) };
            let case = format!("{includes} {excludes}");
            assert_eq!(decision(rules(includes, excludes), have, "chroot").otherwise, expected, "{case}");
        }
    }

    #[test]
    fn conditions_on_one_argument_are_alternatives_on_several_they_hold_together() {
        let condition = |index: u8, value: u8| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
        let rules =
            |args: Value| json!([{ "name": "personality", "action": "SCMP_ACT_ALLOW", "args": args }]);
        let one =
            decision(rules(json!([condition(0, 1), condition(0, 2)])), CapabilitySet::EMPTY, "personality");
        assert_eq!(one.if_all.len(), 2);
        let both =
            decision(rules(json!([condition(0, 1), condition(1, 2)])), CapabilitySet::EMPTY, "personality");
        assert_eq!((both.if_all.len(), both.if_all[0].0.len()), (1, 2));
        assert_eq!(both.otherwise, Action::errno(38));
    }

    #[test]
    fn the_stricter_of_two_rules_rules() {
        let rules = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" }, { "names": ["mkdir"], "action": "SCMP_ACT_KILL" }]);
        assert_eq!(decision(rules, CapabilitySet::EMPTY, "mkdir").otherwise, Action::KILL_THREAD);
    }

    #[test]
    fn what_is_no_profile_is_refused_with_a_reason() {
        for (value, why) in [
            (json!([]), "no defaultAction"),
            (json!({ "defaultAction": "SCMP_ACT_HOPE" }), "no such action"),
            (json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": {} }), "not an array"),
            (json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"] }), "no such flag"),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "action": "SCMP_ACT_ALLOW" }] }),
                "without names",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["x"], "action": "SCMP_ACT_NOTIFY" }] }),
                "agent",
            ),
        ] {
            let error = profile(&value).unwrap_err();
            assert!(error.contains(why), "{value}: {error}");
        }
    }
}
