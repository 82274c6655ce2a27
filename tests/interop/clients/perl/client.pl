# Net::SFTP::Foreign, which runs ssh. Its argument is the task file.
use strict;
use warnings;
use JSON::PP;
use Net::SFTP::Foreign;

$| = 1;
my $json = JSON::PP->new->canonical->allow_nonref;
my ($sftp, %to);

sub answer { print $json->encode({@_}), "\n" }

sub connected {
    my @always = qw(-F /dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -o IdentitiesOnly=yes
                    -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null);
    my @secret = $to{key}
        ? ('-i', $to{key}, qw(-o PreferredAuthentications=publickey))
        : qw(-o PreferredAuthentications=password);
    # Its own option for passwords needs IO::Pty; ssh can ask a program as well.
    if (!$to{key}) {
        my $ask = "$ENV{HOME}/askpass";
        open(my $file, '>', $ask) or die "$ask: $!";
        print $file "#!/bin/sh\necho '$to{password}'\n";
        close $file;
        chmod 0700, $ask;
        @ENV{qw(SSH_ASKPASS SSH_ASKPASS_REQUIRE)} = ($ask, 'force');
    }
    my $made = Net::SFTP::Foreign->new(
        host => $to{host}, port => $to{port}, user => $to{user}, more => [@always, @secret],
        stderr_discard => 0, timeout => 60,
    );
    $made->error and die $made->error . "\n";
    return $made;
}

sub demand { $_[0] or die(($sftp->error || 'false') . "\n"); return undef }

my %steps = (
    to => sub { @to{qw(host port user password)} = @_; return undef },
    login => sub {
        $sftp->disconnect if $sftp;
        $sftp = undef;
        $to{key} = $_[1];
        $sftp = connected();
        return undef;
    },
    mkdir => sub { demand($sftp->mkdir($_[0])) },
    put => sub { demand($sftp->put($_[0], $_[1], copy_perm => 0, copy_time => 0)) },
    resume_put => sub { demand($sftp->put($_[0], $_[1], resume => 1, copy_perm => 0, copy_time => 0)) },
    get => sub { demand($sftp->get($_[0], $_[1])) },
    resume_get => sub { demand($sftp->get($_[0], $_[1], resume => 1)) },
    list => sub {
        my $found = $sftp->ls($_[0], names_only => 1);
        demand($found);
        return $found;
    },
    stat => sub {
        my $found = $sftp->stat($_[0]);
        demand($found);
        return { size => 0 + $found->size, mtime => 0 + $found->mtime };
    },
    rename => sub { demand($sftp->rename($_[0], $_[1])) },
    replace => sub {
        demand($sftp->rename($_[0], $_[1], overwrite => 1));
        return 'its own way';
    },
    chmod => sub { demand($sftp->chmod($_[0], oct $_[1])) },
    utime => sub { demand($sftp->utime($_[0], $_[1], $_[1])) },
    remove => sub { demand($sftp->remove($_[0])) },
    rmdir => sub { demand($sftp->rmdir($_[0])) },
    put_many => sub {
        my @children;
        while (my ($local, $path) = splice(@_, 0, 2)) {
            my $child = fork // die $!;
            if (!$child) {
                my $other = connected();
                my $ok = $other->put($local, $path, copy_perm => 0, copy_time => 0);
                $other->disconnect;
                require POSIX;
                POSIX::_exit($ok ? 0 : 1);
            }
            push @children, $child;
        }
        my $failed = 0;
        for (@children) {
            waitpid $_, 0;
            $failed ||= $?;
        }
        die "a child failed\n" if $failed;
        return undef;
    },
);

answer(client => 'Net::SFTP::Foreign', version => "$Net::SFTP::Foreign::VERSION");
open(my $task, '<', $ARGV[0]) or die $!;
while (my $line = <$task>) {
    chomp $line;
    my ($operation, @rest) = split /\t/, $line;
    my $value = eval { $steps{$operation}->(@rest) };
    if ($@) {
        chomp(my $why = "$@");
        answer(ok => JSON::PP::false, error => $why);
    }
    else {
        answer(ok => JSON::PP::true, value => $value);
    }
}
$sftp->disconnect if $sftp;
