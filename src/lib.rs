//! stayput keeps a kubeadm cluster working while its machines' IP addresses change.

pub mod address;
pub mod agent;
pub mod book;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contest;
pub mod control;
pub mod engine;
pub mod file;
pub mod health;
pub mod lock;
pub mod name;
pub mod own;
pub mod picture;
pub mod process;
pub mod provision;
pub mod report;
pub mod request;
pub mod root;
pub mod source;
pub mod state;
pub mod status;
pub mod surface;
pub mod view;
pub mod writer;
