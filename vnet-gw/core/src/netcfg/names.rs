//! Names that ARM takes, made of names that the classic model took.

use std::collections::BTreeSet;

/// Gives each thing of one kind a name of its own.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Letters, digits, `.`, `-` and `_`; a letter or digit first, a letter, digit or `_` last;
    /// 2 to 80 characters, or fewer where more are to be put to them.
    pub(super) fn name(&mut self, text: &str, most: usize) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        self.distinct(text, '-', most, allowed)
    }

    /// Of a parameter: letters and digits, with `_` between.
    pub(super) fn parameter(&mut self, parts: &[&str]) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.distinct(&parts.join("_"), '_', 120, allowed)
    }

    fn distinct(
        &mut self,
        text: &str,
        instead: char,
        most: usize,
        allowed: impl Fn(char) -> bool,
    ) -> String {
        let mut name: String = text
            .chars()
            .map(|c| if allowed(c) { c } else { instead })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            // Room for a number.
            .take(most.saturating_sub(4))
            .collect();
        let end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        name.truncate(name.trim_end_matches(end).len());
        if name.is_empty() {
            name.push_str("unnamed");
        } else if name.len() == 1 {
            name.push('_');
        }
        let mut distinct = name.clone();
        let mut number = 2;
        while !self.0.insert(distinct.to_ascii_lowercase()) {
            distinct = format!("{name}_{number}");
            number += 1;
        }
        distinct
    }
}
