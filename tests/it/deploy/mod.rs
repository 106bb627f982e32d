//! The pages for administrators, followed to the letter: the code blocks of each are run, as they stand in it, on a host as the
//! distribution installs it, by root and by a user on another machine; what a page shows of their output is compared.

mod host;
mod page;
mod pages;
