# Waits for the end of its input, then ends the servers of a sandbox and removes its directory.
trap '' HUP INT QUIT TERM PIPE
directory=$1

while read -r _; do :; done

# Servers are recognised by what they were started with, not by recorded process ids, which the
# system may have given to somebody else since. The words are handed to grep as its input, so that
# it does not find itself. Its status says nothing: it fails whenever a process ends meanwhile.
servers() {
    printf '%s\n' "--defaults-file=$directory/" | grep -lF -f - /proc/[0-9]*/cmdline 2>/dev/null
}

# Until nobody is left: the owner may have died in the middle of starting one.
while found=$(servers); [ -n "$found" ]; do
    for process in $found; do
        process=${process#/proc/}
        kill -9 "${process%/cmdline}" 2>/dev/null
    done
done
rm -rf "$directory"
