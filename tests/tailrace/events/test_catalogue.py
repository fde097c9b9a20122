from tailrace.events.catalogue import FOLDERS_PER_TEAM, TEAMS, folder_path, invent_catalogue


def test_no_two_folders_share_a_path():
    paths = [folder_path(team, folder) for team in range(len(TEAMS)) for folder in range(FOLDERS_PER_TEAM)]

    assert len(set(paths)) == len(paths)


def test_a_folder_lies_in_another_of_its_team():
    paths = {folder_path(3, folder) for folder in range(FOLDERS_PER_TEAM)}

    assert all(path.rpartition("/")[0] in paths for path in paths - {"/mobile"})


def test_owners_belong_to_the_team_of_their_documents():
    catalogue = invent_catalogue(500, actors=43, key=(1,))

    assert (catalogue.team_of_actor[catalogue.owner] == catalogue.place // FOLDERS_PER_TEAM).all()
    assert set(catalogue.owner.tolist()) == set(range(43))
