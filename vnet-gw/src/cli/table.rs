//! Aligned plain text.

/// Lines are kept to this many columns where the last cell can be wrapped.
pub(super) const WIDTH: usize = 100;
/// The last column gets at least so many.
const LAST: usize = 24;
const GAP: &str = "  ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

pub(super) use Align::{Left, Right};

/// Rows under a line of headings. The last column is wrapped where the line would be too long.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every line ends with a newline; nothing where there are no rows.
    pub(super) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let headings: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = std::iter::once(&headings).chain(&self.rows);
                cells
                    .filter_map(|row| row.get(at))
                    .map(|cell| width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            self.line(row, &widths, &mut text);
        }
        text
    }

    fn line(&self, row: &[String], widths: &[usize], text: &mut String) {
        let mut line = String::new();
        for (at, ((cell, &cell_width), (_, align))) in
            row.iter().zip(widths).zip(&self.columns).enumerate()
        {
            if at > 0 {
                line.push_str(GAP);
            }
            let pad = " ".repeat(cell_width.saturating_sub(width(cell)));
            let last = at + 1 == self.columns.len();
            match align {
                Left if last => {
                    let indent = width(&line);
                    let room = WIDTH.saturating_sub(indent).max(LAST);
                    line.push_str(&wrap(cell, room, indent));
                }
                Left => line.extend([cell.as_str(), &pad]),
                Right => line.extend([&pad, cell.as_str()]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Breaks text between words; lines after the first are indented.
pub(super) fn wrap(text: &str, room: usize, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = width(word);
        if used > 0 && used + 1 + length > room {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            used = 0;
        } else if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += length;
    }
    wrapped
}

/// `name   value` lines.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let indent = widest + GAP.len();
        let value = wrap(value, WIDTH.saturating_sub(indent).max(LAST), indent);
        text.push_str(format!("{name:widest$}{GAP}{value}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(&[("NAME", Left), ("PACKETS", Right), ("WHY", Left)]);
        assert_eq!(table.text(), "");
        table.row(["a".into(), "1,000".into(), String::new()]);
        table.row(["longer".into(), "7".into(), "because".into()]);
        assert_eq!(
            table.text(),
            "NAME    PACKETS  WHY\na         1,000\nlonger        7  because\n"
        );
    }

    #[test]
    fn the_last_column_is_wrapped() {
        let mut table = Table::new(&[("A", Left), ("B", Left)]);
        table.row([
            "x".repeat(70),
            "one two three four five six seven eight".into(),
        ]);
        let text = table.text();
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.lines()
                .last()
                .is_some_and(|line| line.starts_with(&" ".repeat(72)))
        );
    }

    #[test]
    fn pairs_stand_under_each_other() {
        assert_eq!(
            pairs(&[("a", "1".into()), ("long", "2".into())]),
            "a     1\nlong  2\n"
        );
    }
}
