//! Printing.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use serde::Serialize;

const OUTPUT: &str = "writing to standard output";

/// Prints text as it is.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context(OUTPUT)
}

/// Prints a value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = written(serde_json::to_writer_pretty(&mut out, value));
    let written = written
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush());
    written.context(OUTPUT)
}

/// Prints a value as one line of JSON: an element of a stream.
pub(super) fn json_line(value: &impl Serialize) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = written(serde_json::to_writer(&mut out, value));
    let written = written
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush());
    written.context(OUTPUT)
}

/// An error of the output is an I/O error, so that a closed pipe is known as one.
fn written(result: serde_json::Result<()>) -> io::Result<()> {
    result.map_err(io::Error::from)
}

/// Whether people look at standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 MB`: three digits at most, in powers of 1000.
pub(super) fn scaled(number: f64, unit: &str) -> String {
    let mut value = number;
    for prefix in ["", "k", "M", "G", "T"] {
        if value < 999.5 {
            let decimals = usize::from(!prefix.is_empty() && value < 99.95);
            return format!("{value:.decimals$} {prefix}{unit}");
        }
        value /= 1e3;
    }
    format!("{value:.0} P{unit}")
}

pub(super) fn bytes(number: u64) -> String {
    scaled(number as f64, "B")
}

/// `1 port`, `2 ports`
pub(super) fn count(number: usize, one: &str) -> String {
    let number = number as u64;
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{} {one}s", grouped(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.6, "1.0 kB"),
            (1234.0, "1.2 kB"),
            (123_456.0, "123 kB"),
            (99_960.0, "100 kB"),
            (1.5e12, "1.5 TB"),
            (2e15, "2 PB"),
        ] {
            assert_eq!(scaled(number, "B"), text);
        }
        assert_eq!(count(1, "port"), "1 port");
        assert_eq!(count(0, "port"), "0 ports");
    }
}
