//! Records of a pax extended header: `LENGTH KEY=VALUE\n`, with the length of all of it.

use super::entry::decimal;

/// What the attributes of a node are recorded as.
pub const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// Adds a record.
pub fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // space, '=' and newline
    let mut length = rest;
    // The length counts its own digits.
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// A key and its value, which may hold any bytes.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// All records; `None` if there is anything but well-formed records.
pub fn parse(mut records: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut parsed = Vec::new();
    while !records.is_empty() {
        let space = records.iter().position(|&byte| byte == b' ')?;
        let length = usize::try_from(decimal(&records[..space])?).ok()?;
        let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        parsed.push((&record[..equals], &record[equals + 1..]));
        records = &records[length..];
    }
    Some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_length_and_bytes_come_back() {
        for size in (0..200).chain([989, 990, 991, 9_990, 99_999]) {
            let value = vec![b'\n'; size];
            let mut records = Vec::new();
            push(&mut records, b"k", &value);
            push(&mut records, b"next", b"a=b\0");
            assert_eq!(parse(&records), Some(vec![(&b"k"[..], &value[..]), (b"next", b"a=b\0")]), "{size}");
        }
    }

    #[test]
    fn a_record_counts_the_digits_of_its_length() {
        let mut records = Vec::new();
        push(&mut records, b"path", b"x");
        push(&mut records, b"path", b"xx");
        assert_eq!(records, b"9 path=x\n11 path=xx\n");
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            "x",
            "5 a=b",
            "99 a=b\n",
            "6 a=b\nx",
            "0 a=b\n",
            "-6 a=b\n",
            "6 ab\n",
            "6 =ab\n",
            " 6 a=b\n",
            "6",
            "99999999999999999999999 a=b\n",
            "1 a=b\n",
            "2 a=b\n",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"6 a=b\n"), Some(vec![(&b"a"[..], &b"b"[..])]));
        assert_eq!(parse(b""), Some(vec![]));
    }
}
