//! Columns.

/// Left-aligned columns two spaces apart, the headings in upper case; numbers go to the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(headings[column].chars().count())
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let numeric = |column: usize| {
        let cells = || rows.iter().filter_map(|row| row.get(column));
        rows.len() > 1
            && cells()
                .all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains('.'))
    };
    let numeric: Vec<bool> = (0..headings.len()).map(numeric).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths.iter().zip(&numeric))
            .map(|(cell, (&width, &right))| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let heads: Vec<String> = headings
        .iter()
        .map(|heading| heading.to_uppercase())
        .collect();
    std::iter::once(heads)
        .chain(rows.iter().cloned())
        .map(|row| line(&row))
        .collect()
}

/// With a comma between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bits per second of so many bytes per second.
pub(super) fn bit_rate(bytes_per_second: f64) -> String {
    let bits = bytes_per_second * 8.0;
    match bits {
        bits if bits >= 1e9 => format!("{:.2} Gbit/s", bits / 1e9),
        bits if bits >= 1e6 => format!("{:.1} Mbit/s", bits / 1e6),
        bits if bits >= 1e3 => format!("{:.0} kbit/s", bits / 1e3),
        bits => format!("{bits:.0} bit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(123), "123");
        assert_eq!(thousands(1_234), "1,234");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(bit_rate(125_000_000.0), "1.00 Gbit/s");
        assert_eq!(bit_rate(1_000.0), "8 kbit/s");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "1,000".into()],
            vec!["long".into(), "2".into()],
        ];
        assert_eq!(
            table(&["x", "n"], &rows),
            "X         N\na     1,000\nlong      2\n"
        );
    }
}
