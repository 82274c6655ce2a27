<?php
// phpseclib 2 and 3. The first argument is the version, the second one the task file.

namespace clients;

error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_USER_NOTICE);
ini_set('display_errors', 'stderr');
ini_set('memory_limit', '512M');
$major = $argv[1];
require $major === '2' ? '/usr/share/php/phpseclib/autoload.php' : '/usr/share/php/phpseclib3/autoload.php';

final class Refused extends \Exception
{
}

final class Lacks extends \Exception
{
}

final class Client
{
    private $sftp = null;
    private $to = [];
    private $major;

    public function __construct($major)
    {
        $this->major = $major;
    }

    private function connected($key)
    {
        [$host, $port, $user, $password] = $this->to;
        $class = $this->major === '2' ? '\phpseclib\Net\SFTP' : '\phpseclib3\Net\SFTP';
        $sftp = new $class($host, (int) $port, 30);
        $secret = $key === null ? $password : $this->key(file_get_contents($key));
        $this->demand($sftp, $sftp->login($user, $secret));
        return $sftp;
    }

    private function key($text)
    {
        if ($this->major === '3') {
            return \phpseclib3\Crypt\PublicKeyLoader::load($text);
        }
        $key = new \phpseclib\Crypt\RSA();
        if (!$key->loadKey($text)) {
            throw new Lacks();
        }
        return $key;
    }

    private function demand($sftp, $result)
    {
        if ($result === false) {
            throw new Refused($sftp->getLastSFTPError() ?: ($sftp->getLastError() ?: 'false'));
        }
        return $result;
    }

    public function take($step)
    {
        $operation = array_shift($step);
        if ($operation === 'to') {
            $this->to = $step;
            return null;
        }
        if ($operation === 'login') {
            if ($this->sftp) {
                $this->sftp->disconnect();
            }
            $this->sftp = null;
            $this->sftp = $this->connected($step[1] ?? null);
            return null;
        }
        return $this->$operation(...$step);
    }

    private function simply($result)
    {
        $this->demand($this->sftp, $result);
        return null;
    }

    private function mkdir($path)
    {
        return $this->simply($this->sftp->mkdir($path));
    }

    private function put($local, $path)
    {
        return $this->simply($this->sftp->put($path, $local, \constant(get_class($this->sftp) . '::SOURCE_LOCAL_FILE')));
    }

    private function resume_put($local, $path)
    {
        $class = get_class($this->sftp);
        $mode = \constant("$class::SOURCE_LOCAL_FILE") | \constant("$class::RESUME");
        $size = $this->demand($this->sftp, $this->size($path));
        return $this->simply($this->sftp->put($path, $local, $mode, -1, $size));
    }

    private function size($path)
    {
        $found = $this->demand($this->sftp, $this->sftp->stat($path));
        return $found['size'];
    }

    private function get($path, $local)
    {
        return $this->simply($this->sftp->get($path, $local));
    }

    private function resume_get($path, $local)
    {
        clearstatcache();
        $file = fopen($local, 'ab');
        $this->simply($this->sftp->get($path, $file, filesize($local)));
        fclose($file);
        return null;
    }

    private function list($path)
    {
        return $this->demand($this->sftp, $this->sftp->nlist($path));
    }

    private function stat($path)
    {
        $this->sftp->clearStatCache();
        $found = $this->demand($this->sftp, $this->sftp->stat($path));
        return ['size' => $found['size'], 'mtime' => $found['mtime']];
    }

    private function rename($from, $to)
    {
        return $this->simply($this->sftp->rename($from, $to));
    }

    private function replace($from, $to)
    {
        $this->simply($this->sftp->delete($to, false));
        $this->simply($this->sftp->rename($from, $to));
        return 'remove, then rename';
    }

    private function chmod($path, $mode)
    {
        return $this->simply($this->sftp->chmod(octdec($mode), $path));
    }

    private function utime($path, $seconds)
    {
        return $this->simply($this->sftp->touch($path, (int) $seconds, (int) $seconds));
    }

    private function remove($path)
    {
        return $this->simply($this->sftp->delete($path, false));
    }

    private function rmdir($path)
    {
        return $this->simply($this->sftp->rmdir($path));
    }

    // PHP has no threads: a process each, as with php-fpm.
    private function put_many(...$pairs)
    {
        $running = [];
        foreach (array_chunk($pairs, 2) as $pair) {
            $task = tempnam(sys_get_temp_dir(), 'task');
            $lines = [['to', ...$this->to], ['login', 'password'], ['put', ...$pair]];
            file_put_contents($task, implode("\n", array_map(fn ($line) => implode("\t", $line), $lines)) . "\n");
            $process = proc_open([PHP_BINARY, __FILE__, $this->major, $task], [1 => ['pipe', 'w']], $pipes);
            $running[] = [$process, $pipes[1], $task];
        }
        foreach ($running as [$process, $output, $task]) {
            $said = stream_get_contents($output);
            proc_close($process);
            unlink($task);
            if (substr_count($said, '"ok":true') !== 3) {
                throw new Refused($said);
            }
        }
        return null;
    }
}

function answer($found)
{
    echo json_encode($found, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

preg_match('/\d+\.\d+\.\d+/', (string) shell_exec(
    'dpkg-query -W -f \'${Version}\' php-phpseclib' . ($major === '2' ? '' : '3')
), $version);
answer(['client' => 'phpseclib', 'version' => $version[0] ?? '']);
$client = new Client($major);
foreach (file($argv[2], FILE_IGNORE_NEW_LINES) as $line) {
    try {
        answer(['ok' => true, 'value' => $client->take(explode("\t", $line))]);
    } catch (Lacks $error) {
        answer(['ok' => false, 'lacks' => true]);
    } catch (\Throwable $error) {
        answer(['ok' => false, 'error' => get_class($error) . ': ' . $error->getMessage()]);
    }
}
