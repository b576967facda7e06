//! From decisions to a program of the classic BPF machine.
//!
//! First the architecture, for a number means another call in another one; then a binary
//! search over ranges of numbers, so that a long list costs a call nine comparisons and not
//! hundreds; last, where a decision looks at arguments, their two 32-bit halves.

use common::sys::seccomp::Instruction;

use super::rules::{Action, Architecture, Comparison, Condition, Decision, Table};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JEQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JGT: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JGE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in struct seccomp_data, little-endian as all our architectures are.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers from here on are of the x32 ABI, which shares x86-64's architecture number.
const X32: u32 = 0x4000_0000;

/// The program. A call of an architecture that has no table kills, as with libseccomp: the
/// kernel would run it under numbers that no rule was written for.
pub fn program(tables: &[Table]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for table in tables {
        let section = section(table);
        program.push(branch(JEQ, table.architecture.audit_number(), 1, 0));
        program.push(plain(JUMP, section.len() as u32));
        program.extend(section);
    }
    program.push(give(Action::KILL_PROCESS));
    program
}

/// For one architecture; ends in a return on every path.
fn section(table: &Table) -> Vec<Instruction> {
    let mut ranges: Vec<(u32, Decision)> = Vec::new();
    let mut next = 0;
    let mut add = |start: u32, decision: &Decision| match ranges.last() {
        Some((_, last)) if last == decision => {}
        _ => ranges.push((start, decision.clone())),
    };
    let default = Decision::always(table.default);
    for (number, decision) in &table.decisions {
        if *number > next {
            add(next, &default);
        }
        add(*number, decision);
        next = number + 1;
    }
    add(next, &default);
    if table.architecture == Architecture::X86_64 {
        // ENOSYS, as a kernel without x32 has it: a rule for x86-64 must not be sidestepped.
        add(X32, &Decision::always(Action::errno(nix::errno::Errno::ENOSYS as u16)));
    }
    let mut section = vec![plain(LOAD, NUMBER)];
    section.extend(search(&ranges));
    section
}

fn search(ranges: &[(u32, Decision)]) -> Vec<Instruction> {
    if let [(_, decision)] = ranges {
        return leaf(decision);
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let start = right[0].0;
    let (left, right) = (search(left), search(right));
    // A conditional jump reaches 255 instructions, an unconditional one all.
    let mut code = match u8::try_from(left.len()) {
        Ok(length) => vec![branch(JGE, start, length, 0)],
        Err(_) => vec![branch(JGE, start, 0, 1), plain(JUMP, left.len() as u32)],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(decision: &Decision) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in &decision.if_all {
        // Backwards, so that each condition knows how far it is to the next alternative.
        let mut rule = vec![give(*action)];
        for condition in conditions.iter().rev() {
            let mut test = test(condition, rule.len() as u8);
            test.append(&mut rule);
            rule = test;
        }
        code.extend(rule);
    }
    code.push(give(decision.otherwise));
    code
}

/// Falls through if the condition holds; else skips `rest` instructions more.
/// (Six conditions of at most seven instructions: far below a jump's 255.)
fn test(condition: &Condition, rest: u8) -> Vec<Instruction> {
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let (load_high, load_low) = (plain(LOAD, low + 4), plain(LOAD, low));
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    match condition.comparison {
        Comparison::Equal(value) => {
            let (h, l) = halves(value);
            vec![load_high, branch(JEQ, h, 0, rest + 2), load_low, branch(JEQ, l, 0, rest)]
        }
        Comparison::NotEqual(value) => {
            let (h, l) = halves(value);
            vec![load_high, branch(JEQ, h, 0, 2), load_low, branch(JEQ, l, rest, 0)]
        }
        Comparison::Masked { mask, value } => {
            let ((mh, ml), (h, l)) = (halves(mask), halves(value));
            let high = [load_high, plain(AND, mh), branch(JEQ, h, 0, rest + 3)];
            high.into_iter().chain([load_low, plain(AND, ml), branch(JEQ, l, 0, rest)]).collect()
        }
        Comparison::Greater(value) => above(load_high, load_low, value, JGT, rest),
        Comparison::GreaterOrEqual(value) => above(load_high, load_low, value, JGE, rest),
        Comparison::Less(value) => below(load_high, load_low, value, JGE, rest),
        Comparison::LessOrEqual(value) => below(load_high, load_low, value, JGT, rest),
    }
}

/// High half greater, or equal and the low half beyond the value.
fn above(load_high: Instruction, load_low: Instruction, value: u64, low: u16, rest: u8) -> Vec<Instruction> {
    let (h, l) = ((value >> 32) as u32, value as u32);
    vec![load_high, branch(JGT, h, 3, 0), branch(JEQ, h, 0, rest + 2), load_low, branch(low, l, 0, rest)]
}

/// Not that: high half less, or equal and the low half not beyond the value.
fn below(load_high: Instruction, load_low: Instruction, value: u64, low: u16, rest: u8) -> Vec<Instruction> {
    let (h, l) = ((value >> 32) as u32, value as u32);
    vec![load_high, branch(JGT, h, rest + 3, 0), branch(JEQ, h, 0, 2), load_low, branch(low, l, rest, 0)]
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn give(action: Action) -> Instruction {
    plain(RETURN, action.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            offset => {
                let argument = arguments[((offset - ARGUMENTS) / 8) as usize];
                if offset % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut at, mut a) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            let take = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
            match one.code {
                LOAD => a = load(one.k),
                AND => a &= one.k,
                JUMP => at += one.k as usize,
                JEQ => at += take(a == one.k),
                JGT => at += take(a > one.k),
                JGE => at += take(a >= one.k),
                RETURN => return one.k,
                other => panic!("no such instruction: {other}"),
            }
        }
    }

    fn table(decisions: impl IntoIterator<Item = (u32, Decision)>) -> Table {
        Table {
            architecture: Architecture::X86_64,
            decisions: decisions.into_iter().collect(),
            default: Action::errno(38),
        }
    }

    #[test]
    fn every_number_gets_its_own_decision() {
        let numbers: Vec<u32> = (0..500).filter(|number| number % 7 != 3 && number % 5 != 1).collect();
        let action = |number: u32| Action::errno(u16::try_from(number % 30).unwrap());
        let program = program(&[table(numbers.iter().map(|n| (*n, Decision::always(action(*n)))))]);
        let native = Architecture::X86_64.audit_number();
        for number in 0..600 {
            let expected = if numbers.contains(&number) { action(number) } else { Action::errno(38) };
            assert_eq!(run(&program, native, number, [0; 6]), expected.0, "{number}");
        }
        assert_eq!(run(&program, native, X32, [0; 6]), Action::errno(38).0);
        assert_eq!(run(&program, 0x4000_0003, 5, [0; 6]), Action::KILL_PROCESS.0);
    }

    #[test]
    fn x32_numbers_do_not_sidestep_a_rule() {
        let mut table = table([(83, Decision::always(Action::errno(1)))]);
        table.default = Action::ALLOW;
        let program = program(&[table]);
        let native = Architecture::X86_64.audit_number();
        assert_eq!(run(&program, native, 82, [0; 6]), Action::ALLOW.0);
        assert_eq!(run(&program, native, X32 + 83, [0; 6]), Action::errno(38).0);
    }

    #[test]
    fn comparisons_are_of_64_bits() {
        const BIG: u64 = 0x1_0000_0005;
        let samples = [0, 4, 5, 6, 0xffff_ffff, BIG - 1, BIG, BIG + 1, 0x2_0000_0000, u64::MAX];
        for value in samples {
            for comparison in [
                Comparison::Equal(value),
                Comparison::NotEqual(value),
                Comparison::Less(value),
                Comparison::LessOrEqual(value),
                Comparison::Greater(value),
                Comparison::GreaterOrEqual(value),
                Comparison::Masked { mask: BIG, value: value & BIG },
            ] {
                // A second condition behind it, so that failing jumps have to be long enough.
                let conditions = vec![
                    Condition { argument: 3, comparison },
                    Condition { argument: 0, comparison: Comparison::Equal(9) },
                ];
                let decision =
                    Decision { if_all: vec![(conditions, Action::ALLOW)], otherwise: Action::TRAP };
                let program = program(&[table([(7, decision)])]);
                for argument in samples {
                    let holds = match comparison {
                        Comparison::Equal(v) => argument == v,
                        Comparison::NotEqual(v) => argument != v,
                        Comparison::Less(v) => argument < v,
                        Comparison::LessOrEqual(v) => argument <= v,
                        Comparison::Greater(v) => argument > v,
                        Comparison::GreaterOrEqual(v) => argument >= v,
                        Comparison::Masked { mask, value } => argument & mask == value,
                    };
                    for first in [9, 8] {
                        let expected = if holds && first == 9 { Action::ALLOW } else { Action::TRAP };
                        let result = run(
                            &program,
                            Architecture::X86_64.audit_number(),
                            7,
                            [first, 0, 0, argument, 0, 0],
                        );
                        assert_eq!(result, expected.0, "{argument:x} {comparison:x?}");
                    }
                }
            }
        }
    }
}
