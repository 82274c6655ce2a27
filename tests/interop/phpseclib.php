<?php
// What scripts on PHP do with phpseclib, which sends requests ahead where it works on whole trees.
// Its argument is a JSON object; it prints another one, with what it has found.

require '/usr/share/php/phpseclib3/autoload.php';

use phpseclib3\Crypt\PublicKeyLoader;
use phpseclib3\Net\SFTP;

$task = json_decode($argv[1]);
$sftp = new SFTP('127.0.0.1', $task->port);
$found = ['login' => $sftp->login('alice', PublicKeyLoader::load(file_get_contents($task->key)))];

$found['mkdir'] = $sftp->mkdir('/php/a/b', 0755, true) && $sftp->chdir('/php');
foreach (range(0, 39) as $number) {
    $sftp->put("f$number", "file $number");
}
foreach (range(0, 2) as $folder) {
    $sftp->mkdir("d$folder");
    $sftp->mkdir("d$folder/empty");
    foreach (range(0, 4) as $number) {
        $sftp->put("d$folder/f$number", "file $folder $number");
    }
}
$files = array_filter($sftp->nlist('.', true), fn ($name) => preg_match('/f\d+$/', $name));
$found['nlist'] = count($files);
$found['chmod'] = $sftp->chmod(0755, 'd1', true);
$found['in_step'] = $sftp->get('d1/f3');

$data = file_get_contents($task->up);
$sftp->put('up', substr($data, 0, 100000));
$found['resume'] = $sftp->put('up', $task->up, SFTP::SOURCE_LOCAL_FILE | SFTP::RESUME, -1, 100000);
$found['get'] = $sftp->get('up') === $data;
$found['get_part'] = $sftp->get('up', false, 1000, 5000) === substr($data, 1000, 5000);
$found['touch'] = $sftp->touch('f0', 1600000000) && $sftp->filemtime('f0') === 1600000000;
$found['truncate'] = $sftp->truncate('f1', 4) && $sftp->get('f1') === 'file';
$found['rename'] = $sftp->rename('d2', 'moved') && $sftp->get('moved/f4') === 'file 2 4';
$found['onto_another'] = $sftp->rename('f2', 'f3');
$found['rmdir_of_a_full_one'] = $sftp->rmdir('d0');
$found['delete'] = $sftp->delete('d0', true) && $sftp->delete('d1', true) && $sftp->delete('a', true);
$found['still_there'] = $sftp->file_exists('d0') || $sftp->file_exists('d1');
echo json_encode($found);
