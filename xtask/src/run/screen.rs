//! What is repainted on a terminal.

use std::io::{self, IsTerminal, Write};

/// Columns and rows of the terminal on standard error or output; 80 × 24 where there is none.
pub(crate) fn terminal_size() -> (usize, usize) {
    for descriptor in [libc::STDERR_FILENO, libc::STDOUT_FILENO] {
        let mut size = libc::winsize {
            ws_row: 0,
            ws_col: 0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the pointer is to a winsize that outlives the call, as TIOCGWINSZ wants.
        let result = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
        if result == 0 && size.ws_col > 0 && size.ws_row > 0 {
            return (size.ws_col.into(), size.ws_row.into());
        }
    }
    (80, 24)
}

/// Paints pages over each other on a terminal.
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        if is_terminal {
            // The other screen: what was there before is back at the end. The cursor hides.
            print!("\x1b[?1049h\x1b[?25l");
        }
        Self { is_terminal }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows as much of the page as fits.
    pub(super) fn paint(&self, page: &str) -> io::Result<()> {
        let (columns, rows) = terminal_size();
        let mut out = String::from("\x1b[H");
        for line in page.lines().take(rows.saturating_sub(1)) {
            out.extend(line.chars().take(columns));
            out.push_str("\x1b[K\r\n");
        }
        out.push_str("\x1b[J");
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            // Nobody is left to tell where it cannot be written.
            let _ = write!(io::stdout(), "\x1b[?25h\x1b[?1049l");
            let _ = io::stdout().flush();
        }
    }
}
