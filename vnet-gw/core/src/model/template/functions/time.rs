//! `utcNow()`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Args, Result, count};
use crate::model::{error::cut, template::evaluate::invalid};

/// A time of day of a date, in UTC.
struct Civil {
    year: i64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    ticks: u32,
}

/// `utcNow([format])`: .NET's custom formats as far as templates use them, and `d`, `s`, `u`, `o`.
pub(super) fn utc_now(args: &Args<'_, '_>, now: Option<SystemTime>) -> Result<Value> {
    let format = match args.values {
        [] => "yyyyMMddTHHmmssZ",
        [format] => match args.as_text(format)? {
            "d" => "M/d/yyyy",
            "s" => "yyyy-MM-ddTHH:mm:ss",
            "u" => "yyyy-MM-dd HH:mm:ssZ",
            "o" | "O" => "yyyy-MM-ddTHH:mm:ss.fffffffZ",
            format => format,
        },
        _ => return Err(count(args.name, "0 or 1")),
    };
    let Some(since) = now.and_then(|now| now.duration_since(UNIX_EPOCH).ok()) else {
        return Err(invalid(
            "utcNow() has no value where nothing is deployed: give the parameter one.",
        ));
    };
    write(&civil(since.as_secs(), since.subsec_nanos()), format)
        .map(Value::from)
        .ok_or_else(|| {
            invalid(format!(
                "utcNow() cannot do the format '{}': use y, M, d, H, h, m, s, f, t and Z.",
                cut(format)
            ))
        })
}

/// Days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
fn civil(seconds: u64, nanoseconds: u32) -> Civil {
    let days = (seconds / 86_400) as i64 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month + 2) / 5 + 1) as u64;
    let month = if month < 10 { month + 3 } else { month - 9 } as u64;
    let of_day = seconds % 86_400;
    Civil {
        year: era * 400 + year + i64::from(month <= 2),
        month,
        day,
        hour: of_day / 3_600,
        minute: of_day / 60 % 60,
        second: of_day % 60,
        ticks: nanoseconds / 100,
    }
}

fn write(at: &Civil, format: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        let run = rest.chars().take_while(|other| *other == c).count();
        let (number, length) = match c {
            'y' if run == 2 => (at.year.rem_euclid(100) as u64, run),
            'y' => (u64::try_from(at.year).ok()?, run),
            'M' if run <= 2 => (at.month, run),
            'd' if run <= 2 => (at.day, run),
            'H' if run <= 2 => (at.hour, run),
            'h' if run <= 2 => ((at.hour + 11) % 12 + 1, run),
            'm' if run <= 2 => (at.minute, run),
            's' if run <= 2 => (at.second, run),
            'f' if run <= 7 => (u64::from(at.ticks) / 10_u64.pow(7 - run as u32), run),
            't' => {
                let half = if at.hour < 12 { "AM" } else { "PM" };
                out.push_str(&half[..run.min(2)]);
                rest = &rest[run..];
                continue;
            }
            '\'' => {
                let (literal, after) = rest[1..].split_once('\'')?;
                out.push_str(literal);
                rest = after;
                continue;
            }
            c if c.is_ascii_alphabetic() && !matches!(c, 'T' | 'Z') => return None,
            c => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        out.push_str(&format!("{number:0length$}"));
        rest = &rest[run..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_709_251_199, "2024-02-29 23:59:59Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            let written = write(&civil(seconds, 0), "yyyy-MM-dd HH:mm:ssZ");
            assert_eq!(written.as_deref(), Some(expected));
        }
        let at = civil(1_709_220_903, 120_000_000);
        assert_eq!(
            write(&at, "M/d/yy h:mm:ss.fff tt").unwrap(),
            "2/29/24 3:35:03.120 PM"
        );
        assert_eq!(write(&at, "'day' d").unwrap(), "day 29");
        assert_eq!(write(&at, "ddd"), None);
    }
}
