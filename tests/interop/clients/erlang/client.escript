#!/usr/bin/env escript
%% ssh_sftp of Erlang/OTP. Its argument is the task file.
-mode(compile).
-include_lib("kernel/include/file.hrl").

%% A longer READ is answered with less, and its position then goes on by what it asked for.
-define(STEP_BYTES, 32768).

main([Task]) ->
    ok = ssh:start(),
    logger:set_primary_config(level, none),
    answer("\"client\": \"Erlang ssh_sftp\", \"version\": ~s", [text(version())]),
    {ok, Text} = file:read_file(Task),
    Lines = string:split(string:trim(Text, trailing, "\n"), "\n", all),
    lists:foldl(fun take/2, #{}, [string:split(Line, "\t", all) || Line <- Lines]),
    halt(0).

version() ->
    {ssh, _, Version} = lists:keyfind(ssh, 1, application:loaded_applications()),
    Version.

take([Operation | Rest], State) ->
    Arguments = [unicode:characters_to_list(Each) || Each <- Rest],
    try step(binary_to_list(Operation), Arguments, State) of
        {value, Value} -> answer("\"ok\": true, \"value\": ~s", [Value]), State;
        ok -> answer("\"ok\": true, \"value\": null", []), State;
        {state, New} -> answer("\"ok\": true, \"value\": null", []), New;
        {error, Why} -> refuse(Why), State
    catch
        _:Why -> refuse(Why), State
    end.

refuse(Why) ->
    answer("\"ok\": false, \"error\": ~s", [text(io_lib:format("~0p", [Why]))]).

step("to", [Host, Port, User, Password], State) ->
    {state, State#{host => Host, port => list_to_integer(Port), user => User, password => Password}};
step("login", [_How | Key], State) ->
    close(State),
    connect(State, Key);
step("mkdir", [Path], #{sftp := Sftp}) -> ssh_sftp:make_dir(Sftp, Path);
step("put", [Local, Path], #{sftp := Sftp}) -> put_from(Sftp, Local, Path, [write], 0);
step("resume_put", [Local, Path], #{sftp := Sftp}) ->
    {ok, #file_info{size = Size}} = ssh_sftp:read_file_info(Sftp, Path),
    put_from(Sftp, Local, Path, [read, write], Size);
step("get", [Path, Local], #{sftp := Sftp}) -> get_from(Sftp, Path, Local, 0);
step("resume_get", [Path, Local], #{sftp := Sftp}) ->
    get_from(Sftp, Path, Local, filelib:file_size(Local));
step("list", [Path], #{sftp := Sftp}) ->
    case ssh_sftp:list_dir(Sftp, Path) of
        {ok, Names} -> {value, "[" ++ lists:join(", ", [text(Each) || Each <- Names]) ++ "]"};
        Error -> Error
    end;
step("stat", [Path], #{sftp := Sftp}) ->
    case ssh_sftp:read_file_info(Sftp, Path) of
        {ok, #file_info{size = Size, mtime = Time}} ->
            Utc = case calendar:local_time_to_universal_time_dst(Time) of
                [Found | _] -> Found;
                [] -> Time
            end,
            Seconds = calendar:datetime_to_gregorian_seconds(Utc) - 62167219200,
            {value, io_lib:format("{\"size\": ~p, \"mtime\": ~p}", [Size, Seconds])};
        Error -> Error
    end;
step("rename", [Old, New], #{sftp := Sftp}) -> ssh_sftp:rename(Sftp, Old, New);
step("replace", [Old, New], #{sftp := Sftp}) ->
    ok = ssh_sftp:delete(Sftp, New),
    ok = ssh_sftp:rename(Sftp, Old, New),
    {value, "\"remove, then rename\""};
step("chmod", [Path, Mode], #{sftp := Sftp}) ->
    {ok, Info} = ssh_sftp:read_file_info(Sftp, Path),
    ssh_sftp:write_file_info(Sftp, Path, Info#file_info{mode = list_to_integer(Mode, 8)});
step("utime", [Path, Seconds], #{sftp := Sftp}) ->
    {ok, Info} = ssh_sftp:read_file_info(Sftp, Path),
    Time = calendar:gregorian_seconds_to_datetime(list_to_integer(Seconds) + 62167219200),
    Local = calendar:universal_time_to_local_time(Time),
    ssh_sftp:write_file_info(Sftp, Path, Info#file_info{mtime = Local, atime = Local});
step("remove", [Path], #{sftp := Sftp}) -> ssh_sftp:delete(Sftp, Path);
step("rmdir", [Path], #{sftp := Sftp}) -> ssh_sftp:del_dir(Sftp, Path);
step("put_many", Pairs, #{sftp := Sftp}) ->
    Self = self(),
    Running = [spawn_link(fun() -> Self ! {self(), put_from(Sftp, Local, Path, [write], 0)} end)
               || {Local, Path} <- pairs(Pairs)],
    [receive {Each, ok} -> ok after 60000 -> exit(slow) end || Each <- Running],
    ok.

pairs([Local, Path | Rest]) -> [{Local, Path} | pairs(Rest)];
pairs([]) -> [].

close(#{connection := Connection}) -> ssh:close(Connection);
close(_) -> ok.

%% It takes keys from a folder only, by the names that OpenSSH has for them.
connect(#{host := Host, port := Port, user := User, password := Password} = State, Key) ->
    Folder = os:getenv("HOME") ++ "/erlang-keys",
    file:del_dir_r(Folder),
    ok = filelib:ensure_dir(Folder ++ "/x"),
    Secret = case Key of
        [] -> [{auth_methods, "password"}, {password, Password}];
        [File] ->
            {ok, _} = file:copy(File, Folder ++ "/" ++ name_of(File)),
            [{auth_methods, "publickey"}]
    end,
    Options = [{user, User}, {user_dir, Folder}, {silently_accept_hosts, true},
               {save_accepted_host, false}, {user_interaction, false} | Secret],
    case ssh:connect(Host, Port, Options, 30000) of
        {ok, Connection} ->
            {ok, Sftp} = ssh_sftp:start_channel(Connection),
            {state, State#{connection => Connection, sftp => Sftp}};
        Error -> Error
    end.

name_of(File) ->
    case [Name || {Word, Name} <- [{"ed25519", "id_ed25519"}, {"ecdsa", "id_ecdsa"}, {"rsa", "id_rsa"}],
                  string:find(filename:basename(File), Word) =/= nomatch] of
        [Name | _] -> Name
    end.

put_from(Sftp, Local, Path, Modes, Offset) ->
    {ok, From} = file:open(Local, [read, raw, binary]),
    {ok, _} = file:position(From, Offset),
    case ssh_sftp:open(Sftp, Path, [binary | Modes]) of
        {ok, To} ->
            {ok, _} = ssh_sftp:position(Sftp, To, Offset),
            ok = put_rest(Sftp, From, To),
            ok = file:close(From),
            ssh_sftp:close(Sftp, To);
        Error -> Error
    end.

put_rest(Sftp, From, To) ->
    case file:read(From, ?STEP_BYTES) of
        {ok, Data} ->
            ok = ssh_sftp:write(Sftp, To, Data),
            put_rest(Sftp, From, To);
        eof -> ok
    end.

get_from(Sftp, Path, Local, Offset) ->
    case ssh_sftp:open(Sftp, Path, [read, binary]) of
        {ok, From} ->
            {ok, To} = file:open(Local, [if Offset > 0 -> append; true -> write end, raw, binary]),
            {ok, _} = ssh_sftp:position(Sftp, From, Offset),
            ok = get_rest(Sftp, From, To),
            ok = file:close(To),
            ssh_sftp:close(Sftp, From);
        Error -> Error
    end.

get_rest(Sftp, From, To) ->
    case ssh_sftp:read(Sftp, From, ?STEP_BYTES) of
        {ok, Data} ->
            ok = file:write(To, Data),
            get_rest(Sftp, From, To);
        eof -> ok
    end.

text(Characters) ->
    Escaped = [case Each of
                   $" -> "\\\"";
                   $\\ -> "\\\\";
                   _ when Each < 32 -> io_lib:format("\\u~4.16.0b", [Each]);
                   _ -> Each
               end || Each <- lists:flatten(Characters)],
    [$", Escaped, $"].

answer(Format, Arguments) ->
    io:format("{~ts}~n", [io_lib:format(Format, Arguments)]).
