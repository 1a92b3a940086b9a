#!/usr/bin/perl
# Perl's DBI with DBD::MariaDB, which is built on libmariadb: emulated and real prepared statements.
use strict;
use warnings;
use utf8;

use DBI;
use Digest::MD5 qw(md5_hex);

binmode STDOUT, ':encoding(UTF-8)';
$| = 1;

my $dsn = sprintf 'DBI:MariaDB:database=%s;host=%s;port=%d;mariadb_local_infile=1;mariadb_multi_statements=1;mariadb_max_allowed_packet=%d',
    @ENV{qw(CLIENT_DATABASE CLIENT_HOST CLIENT_PORT)}, 64 << 20;
# It takes TLS where it is offered; to insist on it, it wants a certificate to verify.
$dsn .= ';mariadb_ssl=1;mariadb_ssl_optional=1' if $ENV{CLIENT_TLS} eq 'on';

sub login {
    my (%more) = @_;
    my $user = delete $more{user} // $ENV{CLIENT_USER};
    my $password = delete $more{password} // $ENV{CLIENT_PASSWORD};
    return DBI->connect($dsn, $user, $password, { RaiseError => 1, PrintError => 0, AutoCommit => 1, %more });
}

sub shown {
    my ($value) = @_;
    return 'NULL' unless defined $value;
    my $bytes = $value;
    utf8::encode($bytes);
    return length($value) . ' characters, md5 ' . md5_hex($bytes) if length $value > 200;
    return "'$value'" if $value =~ /\A[\x20-\x{10FFFF}]*\z/ && $value !~ /[\x7f-\x9f]/;
    return 'hex ' . unpack 'H*', $bytes;
}

sub check { my ($name, @values) = @_; print "check $name: ", join(', ', map { shown($_) } @values), "\n"; }

sub refused {
    my ($name, $what) = @_;
    my $ended = eval { $what->(); 1 };
    die "$name: no error\n" if $ended;
    check($name, $DBI::err, $DBI::state, $DBI::errstr);
}

sub statements {
    my ($name) = @_;
    open my $file, '<:encoding(UTF-8)', "$ENV{CLIENT_SHARED}/$name" or die "$name: $!";
    return grep { /\S/ } map { chomp; $_ } <$file>;
}

sub prepared { my ($db, $sql, $real) = @_; return $db->prepare($sql, { mariadb_server_prepare => $real, mariadb_server_prepare_disable_fallback => $real }); }

sub table {
    my ($name, $statement) = @_;
    my @columns = @{ $statement->{NAME} };
    my @kinds = @{ $statement->{mariadb_type_name} };
    while (my $row = $statement->fetchrow_arrayref) {
        check("$name.$row->[0].$columns[$_]:$kinds[$_]", $row->[$_]) for 0 .. $#columns;
    }
}

sub walk {
    my $db = login();
    check('login', $db->selectrow_array('SELECT CURRENT_USER(), DATABASE(), @@character_set_client, @@collation_connection, @@autocommit, @@sql_mode, @@version'));
    check('version', $db->{mariadb_serverinfo}, $db->{mariadb_serverversion});
    if ($ENV{CLIENT_TLS} eq 'on') { defined $db->{mariadb_ssl_cipher} or die 'no TLS' if exists $db->{mariadb_ssl_cipher}; }
    refused('login.wrong', sub { login(password => 'wrong') });
    refused('login.nobody', sub { login(user => 'nobody') });
    $db->do($_) for statements('types.sql'), statements('set-up.sql');

    for my $name (qw(types special)) {
        for my $real (0, 1) {
            my $statement = prepared($db, "SELECT * FROM $name ORDER BY id", $real);
            $statement->execute;
            table("$name." . ($real ? 'binary' : 'text'), $statement);
        }
    }
    my $insert = 'INSERT INTO bound (i, u, d, s, b, n, dt, da, ti, de) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';
    for my $real (0, 1) {
        my $statement = prepared($db, $insert, $real);
        my @values = (-9223372036854775807, '18446744073709551615', 0.5, 'it\'s \\ "ö" 🦀', undef, undef,
            '2024-02-29 12:34:56.000001', '1000-01-01', '-100:00:00.000005', '1234567890.1234');
        $statement->bind_param($_ + 1, $values[$_]) for 0 .. $#values;
        $statement->bind_param(1, $values[0], DBI::SQL_BIGINT);
        $statement->bind_param(3, $values[2], DBI::SQL_DOUBLE);
        $statement->bind_param(5, "\x00\xff\\'\x1a", DBI::SQL_BLOB);
        $statement->execute;
        check("bound.$real", $statement->rows, $statement->{mariadb_insertid});
        my $read = prepared($db, 'SELECT * FROM bound WHERE s = ? AND d = ?', $real);
        $read->execute($values[3], 0.5);
        table("bound.$real.read", $read);
    }
    my $sum = prepared($db, 'SELECT ? + 1', 1);
    check('prepared', map { $sum->execute($_); $sum->fetchrow_array } 1 .. 50);

    many_results($db, 'results', "SELECT 1; INSERT INTO keyed (k) VALUES ('multi'); SELECT 'two', NULL; DO 0; SELECT 3");
    refused('results.error', sub { many_results($db, 'results.error', 'SELECT 1; SELECT * FROM nowhere; SELECT 2') });
    refused('results.error.late', sub { many_results($db, 'results.error.late', 'CALL fails_late()') });
    many_results($db, 'call', 'CALL two_results(20, @out)');
    check('call.out', $db->selectrow_array('SELECT @out'));

    for my $real (0, 1) {
        for my $sql ('SELEC 1', 'SELECT * FROM nowhere', 'INSERT INTO types (id) VALUES (1)', 'INSERT INTO keyed (v) VALUES (NULL)', 'SELECT * FROM mysql.user') {
            refused("error.$real", sub { prepared($db, $sql, $real)->execute });
        }
    }
    my $file = "$ENV{CLIENT_SHARED}/rows.tsv";
    check('infile', $db->do("LOAD DATA LOCAL INFILE '$file' INTO TABLE loaded CHARACTER SET utf8mb4"), $db->{mariadb_info});
    table('infile.rows', do { my $s = $db->prepare('SELECT * FROM loaded ORDER BY id'); $s->execute; $s });
    # libmariadb leaves what follows a missing file unread, and the connection with it.
    my $other = login();
    for my $sql ("LOAD DATA LOCAL INFILE '$file.nowhere' INTO TABLE loaded", "DO 'after it'") {
        check('infile.missing', eval { $other->do($sql) } // $DBI::errstr);
    }

    my $count = sub { $db->selectrow_array("SELECT COUNT(*) FROM keyed WHERE k LIKE 't%'") };
    $db->begin_work;
    check('transaction.insert', $db->do("INSERT INTO keyed (k) VALUES ('t1'), ('t2')"), $db->{mariadb_insertid});
    check('transaction.inside', $count->());
    $db->rollback;
    check('transaction.rolled_back', $count->());
    $db->begin_work;
    $db->do("INSERT INTO keyed (k) VALUES ('t3')");
    $db->commit;
    check('transaction.committed', $count->());

    for my $megabytes (1, 17) {
        my $data = join('', map { chr } 0 .. 255) x ($megabytes * 4096);
        for my $real (0, 1) {
            my $statement = prepared($db, 'REPLACE INTO large VALUES (?, ?)', $real);
            $statement->bind_param(1, $megabytes);
            $statement->bind_param(2, $data, DBI::SQL_BLOB);
            $statement->execute;
            my $read = prepared($db, "SELECT SHA2(data, 256), data, 'behind it' FROM large WHERE id = ?", $real);
            $read->execute($megabytes);
            my @row = $read->fetchrow_array;
            $row[1] eq $data or die "$megabytes MiB: other bytes";
            check("large.$megabytes.$real", @row);
        }
    }
    my $many = prepared($db, 'INSERT INTO keyed (k, v) VALUES (?, ?)', 1);
    $many->execute("m$_", $_) for 1 .. 300;
    my $streamed = $db->prepare("SELECT k, v FROM keyed WHERE k LIKE 'm%' ORDER BY id");
    $streamed->execute;
    my $all = '';
    while (my @row = $streamed->fetchrow_array) { $all .= "@row;" }
    check('many', md5_hex($all));
    my $slow = login(mariadb_read_timeout => 1);
    refused('timeout', sub { $slow->do('SELECT SLEEP(4)') });
    check('ping', $db->ping);
    check('end', $db->selectrow_array("SELECT 'still here'"));
    $db->disconnect;
}

sub many_results {
    my ($db, $name, $sql) = @_;
    my $statement = $db->prepare($sql);
    $statement->execute;
    do {
        if ($statement->{NUM_OF_FIELDS}) { check($name, @$_) for @{ $statement->fetchall_arrayref } }
        else { check($name, $statement->rows) }
    } while ($statement->more_results);
}

sub failover {
    my ($idle, $busy) = (login(), login());
    $idle->do('CREATE TABLE IF NOT EXISTS survived (id INT AUTO_INCREMENT PRIMARY KEY, a VARCHAR(20) UNIQUE)');
    $idle->do('SET SESSION lock_wait_timeout = 4242');
    $idle->do("SET \@note = 'still 🦀'");
    my $sum = prepared($idle, 'SELECT ? + ?', 1);
    $sum->execute(1, 2);
    $sum->fetchrow_array == 3 or die 'no sum';
    $sum->finish;
    my ($before) = $idle->selectrow_array('SELECT @@server_id');
    $busy->begin_work;
    $busy->do("INSERT INTO survived (a) VALUES ('lost')");
    print "ready\n";
    <STDIN> eq "go\n" or die 'not told to go';
    $sum->execute(20, 22);
    print 'check prepared: ', $sum->fetchrow_array + 0, "\n";
    print "check variables: @{[ $idle->selectrow_array('SELECT @@lock_wait_timeout, @note') ]}\n";
    my ($after) = $idle->selectrow_array('SELECT @@server_id');
    print 'check moved: ', ($after != $before ? 'yes' : 'no'), "\n";
    eval { $busy->do("INSERT INTO survived (a) VALUES ('lost too')") };
    print 'check transaction: ', $busy->err // 'no error', "\n";
    $busy->rollback;
    $busy->begin_work;
    $busy->do("INSERT INTO survived (a) VALUES ('again')");
    $busy->commit;
    print "check again: @{[ $idle->selectrow_array('SELECT GROUP_CONCAT(a) FROM survived') ]}\n";
}

$ARGV[0] eq 'failover' ? failover() : walk();
