//! Reading a Linux machine: processes, services, network, disks, users, journal.
