mod diff;
mod image;
mod property;
mod random;
