# Net::SSH2, on libssh2. Its argument is the task file.
use strict;
use warnings;
use Fcntl;
use JSON::PP;
use Net::SSH2;

$| = 1;
my $json = JSON::PP->new->canonical->allow_nonref;
my ($ssh, $sftp, %to);

sub answer { print $json->encode({@_}), "\n" }

sub connected {
    my $made = Net::SSH2->new(timeout => 60_000);
    $made->connect($to{host}, $to{port}) or die(($made->error)[2] . "\n");
    my $ok = $to{key}
        ? $made->auth_publickey($to{user}, "$to{key}.pub", $to{key})
        : $made->auth_password($to{user}, $to{password});
    $ok or die(($made->error)[2] . "\n");
    return $made;
}

sub demand {
    return undef if $_[0];
    my ($code, $name) = $sftp->error;
    die(($name || ($ssh->error)[2] || 'false') . "\n");
}

sub copy_up {
    my ($sftp, $local, $path, $flags, $offset) = @_;
    open(my $from, '<:raw', $local) or die $!;
    my $to = $sftp->open($path, $flags, 0644);
    demand($to);
    seek($from, $offset, 0);
    $to->seek($offset);
    while (read($from, my $step, 30_000)) {
        while (length $step) {
            my $count = $to->write($step);
            demand($count && $count > 0);
            substr($step, 0, $count) = '';
        }
    }
    return undef;
}

sub copy_down {
    my ($path, $local, $offset) = @_;
    my $from = $sftp->open($path, O_RDONLY);
    demand($from);
    open(my $to, $offset ? '>>:raw' : '>:raw', $local) or die $!;
    $from->seek($offset);
    while ($from->read(my $step, 30_000)) { print $to $step }
    close $to;
    return undef;
}

my $new = O_WRONLY | O_CREAT | O_TRUNC;
my %steps = (
    to => sub { @to{qw(host port user password)} = @_; return undef },
    login => sub {
        undef $sftp;
        $ssh->disconnect if $ssh;
        $ssh = undef;
        $to{key} = $_[1];
        $ssh = connected();
        $sftp = $ssh->sftp or die "no sftp\n";
        return undef;
    },
    mkdir => sub { demand($sftp->mkdir($_[0])) },
    put => sub { copy_up($sftp, @_, $new, 0) },
    resume_put => sub {
        my $found = $sftp->stat($_[1]);
        demand($found);
        return copy_up($sftp, @_, O_WRONLY, $found->{size});
    },
    get => sub { copy_down(@_, 0) },
    resume_get => sub { copy_down(@_, -s $_[1]) },
    list => sub {
        my $folder = $sftp->opendir($_[0]);
        demand($folder);
        my @names;
        while (my $each = $folder->read) { push @names, $each->{name} }
        return \@names;
    },
    stat => sub {
        my $found = $sftp->stat($_[0]);
        demand($found);
        return { size => 0 + $found->{size}, mtime => 0 + $found->{mtime} };
    },
    rename => sub { demand($sftp->rename($_[0], $_[1])) },
    replace => sub {
        demand($sftp->unlink($_[1]));
        demand($sftp->rename($_[0], $_[1]));
        return 'remove, then rename';
    },
    chmod => sub { demand($sftp->setstat($_[0], mode => oct $_[1])) },
    utime => sub { demand($sftp->setstat($_[0], atime => $_[1], mtime => $_[1])) },
    remove => sub { demand($sftp->unlink($_[0])) },
    rmdir => sub { demand($sftp->rmdir($_[0])) },
    put_many => sub {
        my @children;
        while (my ($local, $path) = splice(@_, 0, 2)) {
            my $child = fork // die $!;
            if (!$child) {
                my $other = connected();
                my $ok = eval { copy_up($other->sftp, $local, $path, $new, 0); 1 };
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

my $linked = eval { (Net::SSH2->version)[0] } // '';
answer(client => 'Net::SSH2', version => "$Net::SSH2::VERSION on libssh2 $linked");
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
