//! Log lines on stderr.

use std::{
    fmt::Display,
    io::{self, Write},
    str::FromStr,
    time::SystemTime,
};

use clap::ValueEnum;
use log::{Level, LevelFilter};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level and message.
    #[default]
    Text,
    /// An object a line: time, level, target, message.
    Json,
}

/// Which records are written: a level, or levels by module, `info,aya=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "use off, error, warn, info, debug or trace, or MODULE=LEVEL";
        env_filter::Builder::new()
            .try_parse(text)
            .map_err(|error| format!("{error}; {HELP}"))?;
        // A word that is no level would be taken for a module.
        let words = text.split(',').filter(|word| !word.contains('='));
        if let Some(word) = words
            .into_iter()
            .find(|word| word.parse::<LevelFilter>().is_err())
        {
            return Err(format!("{word:?} is no level; {HELP}"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Starts logging.
pub fn init(format: LogFormat, level: &LogLevel) {
    let filter = env_filter::Builder::new().parse(&level.0).build();
    let most = filter.filter();
    let log = env_filter::FilteredLog::new(Stderr(format), filter);
    // A second start in one process, as in tests, keeps the first one's.
    if log::set_boxed_logger(Box::new(log)).is_ok() {
        log::set_max_level(most);
    }
}

struct Stderr(LogFormat);

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let (level, message) = (record.level(), record.args());
        let mut line = match self.0 {
            LogFormat::Text => text(&time, level, message),
            LogFormat::Json => json(&time, level, record.target(), message),
        };
        line.push('\n');
        // Nobody is left to tell that nobody listens.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn text(time: &impl Display, level: Level, message: &impl Display) -> String {
    // One event is one line, whatever an error's text holds.
    let message = message.to_string().replace('\n', "; ");
    match level {
        Level::Info => format!("{time} {message}"),
        Level::Warn => format!("{time} warning: {message}"),
        Level::Error => format!("{time} error: {message}"),
        Level::Debug => format!("{time} debug: {message}"),
        Level::Trace => format!("{time} trace: {message}"),
    }
}

fn json(time: &impl Display, level: Level, target: &str, message: &impl Display) -> String {
    serde_json::json!({
        "time": time.to_string(),
        "level": level.as_str().to_ascii_lowercase(),
        "target": target,
        "message": message.to_string(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(text(&"T", Level::Error, &"a\nb"), "T error: a; b");
        assert_eq!(
            json(&"T", Level::Info, "vnet_gw", &"a\n\"b\""),
            r#"{"time":"T","level":"info","target":"vnet_gw","message":"a\n\"b\""}"#
        );
    }
}
