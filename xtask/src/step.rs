//! Steps that may take long: each says what it does, how long it has been at it, and what its
//! child said last.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Shorter steps are not worth a line.
const QUIET: Duration = Duration::from_millis(700);
/// How often a log, which has no line to repaint, is told.
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// Runs `command` to its end; where it fails, the error holds everything it said.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    follow(what, command, None)
}

/// The same, its standard output going to `file`.
pub(crate) fn run_with_output(what: &str, command: &mut Command, file: File) -> Result<()> {
    follow(what, command, Some(file))
}

fn follow(what: &str, command: &mut Command, output: Option<File>) -> Result<()> {
    let (reader, writer) = io::pipe().context("making a pipe")?;
    let errors = writer.try_clone().context("duplicating a pipe")?;
    command.stdin(Stdio::null()).stderr(errors);
    match output {
        Some(file) => command.stdout(file),
        None => command.stdout(writer),
    };
    let mut child = command.spawn().with_context(|| {
        format!(
            "{what}: starting {}",
            command.get_program().to_string_lossy()
        )
    })?;
    // The command still holds the write ends; with them open the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let said = Arc::new(Mutex::new(Vec::new()));
    let listener = thread::spawn({
        let said = said.clone();
        move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                lock(&said).push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    });
    let mut progress = Progress::new(what);
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("waiting for: {what}"))?
        {
            break status;
        }
        progress.tell(&state(&lock(&said)));
        thread::sleep(Duration::from_millis(50));
    };
    // Not joined: a grandchild in the background may keep the pipe open.
    let deadline = Instant::now() + Duration::from_secs(1);
    while !listener.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    progress.end(status.success());
    if !status.success() {
        bail!(
            "{what} failed, {status}; it said:\n{}",
            lock(&said).join("\n")
        );
    }
    Ok(())
}

/// The last line, and of a build how many crates it has begun: the last one may take long.
fn state(said: &[String]) -> String {
    let last = said.iter().rev().find(|line| !line.is_empty());
    let last = last.map_or("", |line| line.trim());
    let begun = said
        .iter()
        .filter(|line| line.trim_start().starts_with("Compiling "))
        .count();
    if begun > 1 {
        format!("{last} (crate {begun})")
    } else {
        last.to_owned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Progress<'a> {
    what: &'a str,
    started: Instant,
    told: Option<Instant>,
    repaint: bool,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str) -> Self {
        Self {
            what,
            started: Instant::now(),
            told: None,
            repaint: io::stderr().is_terminal(),
        }
    }

    fn tell(&mut self, last: &str) {
        let elapsed = self.started.elapsed();
        if elapsed < QUIET {
            return;
        }
        let due = if self.repaint {
            Duration::from_millis(200)
        } else {
            TOLD_EVERY
        };
        if self.told.is_some_and(|told| told.elapsed() < due) {
            return;
        }
        let first = self.told.replace(Instant::now()).is_none();
        let line = format!("{}: {} s  {last}", self.what, elapsed.as_secs());
        // Progress is a courtesy: where it cannot be written the work goes on.
        let _ = match (self.repaint, first) {
            (true, _) => write!(io::stderr(), "\r\x1b[K{}", clip(&line)),
            (false, true) => writeln!(io::stderr(), "{} …", self.what),
            (false, false) => writeln!(io::stderr(), "{line}"),
        };
    }

    fn end(&self, good: bool) {
        if self.told.is_none() {
            return;
        }
        let start = if self.repaint { "\r\x1b[K" } else { "" };
        let how = if good { "done in" } else { "failed after" };
        let seconds = self.started.elapsed().as_secs();
        let _ = writeln!(io::stderr(), "{start}{}: {how} {seconds} s", self.what);
    }
}

/// Cut to the terminal's width, so that repainting the line repaints all of it.
fn clip(line: &str) -> String {
    line.chars()
        .take(crate::run::terminal_size().0.saturating_sub(1))
        .collect()
}
